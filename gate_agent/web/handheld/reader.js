// Reads codes from the phone's camera: by the browser's own detector where there is one, else by zxing as WebAssembly.

const FORMATS = ["qr_code"];
const EVERY_MS = 120;

async function ownDetector() {
  if (!("BarcodeDetector" in window)) return null;
  const known = await window.BarcodeDetector.getSupportedFormats();
  if (!FORMATS.every((format) => known.includes(format))) return null;
  const detector = new window.BarcodeDetector({ formats: FORMATS });
  return async (video) => {
    const [found] = await detector.detect(video);
    return found ? found.rawValue : null;
  };
}

async function zxingDetector() {
  const zxing = await import("./vendor/reader/index.js");
  zxing.prepareZXingModule({ overrides: { locateFile: (name) => `vendor/${name}` } });
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  return async (video) => {
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    context.drawImage(video, 0, 0);
    const picture = context.getImageData(0, 0, canvas.width, canvas.height);
    const found = await zxing.readBarcodes(picture, { formats: ["QRCode"], maxNumberOfSymbols: 1 });
    const [code] = found.filter((one) => one.isValid);
    return code ? new TextDecoder("utf-8").decode(code.bytes) : null;
  };
}

// Calls `onCode(text)` once for each showing of a code until the returned function is called.
export async function readCamera(video, onCode) {
  const detect = (await ownDetector()) ?? (await zxingDetector());
  const stream = await navigator.mediaDevices.getUserMedia({
    video: { facingMode: "environment", width: { ideal: 1280 }, height: { ideal: 720 } },
  });
  video.srcObject = stream;
  await video.play();
  let isOn = true;
  let shown = null;
  let missed = 0;
  (async () => {
    while (isOn) {
      const text = video.videoWidth ? await detect(video) : null;
      missed = text === null ? missed + 1 : 0;
      if (missed > 5) shown = null; // gone: the same code counts anew when it returns
      if (text !== null && text !== shown && isOn) {
        shown = text;
        await onCode(text);
      }
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  })();
  return () => {
    isOn = false;
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
  };
}
