// Short names for what the box reports in codes: [zh, en].

export const VERDICTS = {
  ADMIT: ["放行", "Admitted"],
  REFER: ["转人工", "Staff will help"],
  DENY: ["未放行", "Not admitted"],
  NONE: ["等待出示", "Waiting for a code"],
};

export const BARRIER = {
  CLOSED: ["闸机关闭", "closed"],
  RELEASED: ["闸机开启", "open"],
  PASSING: ["正在通过", "passing"],
  OVERDUE: ["超时未报", "overdue"],
  FORCED: ["强行闯入", "forced"],
  LOST: ["闸机未连接", "not connected"],
  UNKNOWN: ["状态未知", "not known"],
};

export const REASONS = {
  TICKET: ["门票", "ticket"],
  UNLISTED_TICKET: ["脱机门票", "unlisted ticket"],
  FREE_VISIT: ["首次免票", "free visit"],
  STATUTORY_FREE: ["按年龄免票", "free by age"],
  CREDIT_LINE: ["先游后付", "pay later"],
  RESUMED: ["继续通行", "resumed"],
  OVERRIDDEN: ["人工放行", "let in by staff"],
  NO_LIST: ["无名单", "no list"],
  UNLISTED_CODE: ["未收录", "unlisted code"],
  UNLISTED_LIMIT: ["脱机限额", "floor limit"],
  UNKNOWN_PRODUCT: ["未知票种", "unknown product"],
  KEY_WITHDRAWN: ["签发密钥已停用", "key withdrawn"],
  CREDIT_DATA_OLD: ["授信过旧", "credit data old"],
  CREDIT_OFFLINE_LIMIT: ["授信脱机限额", "credit floor limit"],
  LANE_NOT_READY: ["通道未就绪", "lane not ready"],
  STORE_BROKEN: ["存储故障", "store broken"],
  ALREADY_USED: ["已使用", "already used"],
  REFUNDED: ["已退票", "refunded"],
  BLOCKED: ["已冻结", "blocked"],
  WRONG_SITE: ["其他景区", "other site"],
  TOO_EARLY: ["未到时间", "too early"],
  EXPIRED: ["已过期", "expired"],
  OTHER_LANE: ["请走普通通道", "other lane"],
  CREDIT_SUSPENDED: ["授信暂停", "credit suspended"],
  MISTYPED: ["票码输错", "mistyped"],
  FREE_VISIT_USED: ["免票已用", "free visit used"],
  NO_CREDIT: ["额度不足", "no credit"],
  NO_ENTITLEMENT: ["无权益", "no entitlement"],
  CAPACITY_REACHED: ["景区已满", "site full"],
  RESERVED_ONLY: ["仅限预约", "reservations only"],
  REENTRY: ["再入园", "back again"],
  EXIT: ["出园", "leaving"],
  LATE: ["已过时段", "late"],
  PROOF_NEEDED: ["查验证件", "proof needed"],
  RULE_UNREADABLE: ["规则不明", "rule unreadable"],
  UNPAID: ["未付款", "unpaid"],
  REVOKED: ["已作废", "cancelled"],
  WRONG_SERVICE: ["不含此项", "not included"],
  NO_SHOW: ["已过保留", "hold over"],
  NOT_TODAY: ["今日不可", "not today"],
  NOT_NOW: ["此时不可", "not now"],
  DAY_LIMIT: ["今日已满", "day used up"],
  SITE_LIMIT: ["本区已满", "site used up"],
  PASSBACK: ["刚刚用过", "just used"],
  RULE: ["规则不符", "rule"],
  NOT_A_TICKET: ["非门票", "not a ticket"],
  MALFORMED: ["无法识别", "malformed"],
  UNKNOWN_KEY: ["未知签发方", "unknown issuer"],
  BAD_SIGNATURE: ["签名无效", "bad signature"],
};

const ADMITTING = new Set(["TICKET", "UNLISTED_TICKET", "FREE_VISIT", "STATUTORY_FREE", "CREDIT_LINE", "RESUMED", "OVERRIDDEN", "REENTRY", "EXIT"]);

export const admits = (reason) => ADMITTING.has(reason);
