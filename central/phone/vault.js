// What stays on the phone: a key that cannot be taken out of the browser, and the codes that are bound to it.
const DATABASE = "scenic-gate";

function opened() {
  return new Promise((done, failed) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("keys");
      request.result.createObjectStore("codes", { keyPath: "key" });
    };
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });
}

async function within(store, mode, work) {
  const database = await opened();
  try {
    return await new Promise((done, failed) => {
      const transaction = database.transaction(store, mode);
      const request = work(transaction.objectStore(store));
      transaction.oncomplete = () => done(request.result);
      transaction.onerror = transaction.onabort = () => failed(transaction.error);
    });
  } finally {
    database.close();
  }
}

export async function keyPair() {
  const kept = await within("keys", "readonly", (store) => store.get("holder"));
  if (kept) return kept;
  const fresh = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
  try {
    await within("keys", "readwrite", (store) => store.add(fresh, "holder"));
    return fresh;
  } catch {
    return within("keys", "readonly", (store) => store.get("holder")); // another tab was first
  }
}

export const keep = (code) => within("codes", "readwrite", (store) => store.put(code));
export const forget = (key) => within("codes", "readwrite", (store) => store.delete(key));
export const codes = () => within("codes", "readonly", (store) => store.getAll());
