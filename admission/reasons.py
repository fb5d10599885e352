"""Why a visitor was admitted, referred or denied: one closed list, and the words for each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from admission.staff import Role


class Verdict(StrEnum):
    """What the lane does with the visitor."""

    ADMIT = "ADMIT"
    REFER = "REFER"
    DENY = "DENY"


class Lamp(StrEnum):
    """The lamp over a lane."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


_LAMPS = {Verdict.ADMIT: Lamp.GREEN, Verdict.REFER: Lamp.AMBER, Verdict.DENY: Lamp.RED}


class Reason(StrEnum):
    """Every answer the gate can give; wire, display, reports and docs are keyed by it."""

    TICKET = "TICKET"
    UNLISTED_TICKET = "UNLISTED_TICKET"
    FREE_VISIT = "FREE_VISIT"
    STATUTORY_FREE = "STATUTORY_FREE"
    CREDIT_ORDER = "CREDIT_ORDER"
    CREDIT_LINE = "CREDIT_LINE"
    REENTRY = "REENTRY"
    EXIT = "EXIT"
    RESUMED = "RESUMED"
    OVERRIDDEN = "OVERRIDDEN"

    NO_LIST = "NO_LIST"
    UNLISTED_CODE = "UNLISTED_CODE"
    UNLISTED_LIMIT = "UNLISTED_LIMIT"
    UNKNOWN_PRODUCT = "UNKNOWN_PRODUCT"
    KEY_WITHDRAWN = "KEY_WITHDRAWN"
    CREDIT_DATA_OLD = "CREDIT_DATA_OLD"
    CREDIT_OFFLINE_LIMIT = "CREDIT_OFFLINE_LIMIT"
    LATE = "LATE"
    NOT_LIVE = "NOT_LIVE"
    CLOCK_UNSURE = "CLOCK_UNSURE"
    PROOF_NEEDED = "PROOF_NEEDED"
    CLEARANCE = "CLEARANCE"
    RULE_UNREADABLE = "RULE_UNREADABLE"
    LANE_NOT_READY = "LANE_NOT_READY"
    STORE_BROKEN = "STORE_BROKEN"
    STORE_FULL = "STORE_FULL"

    ALREADY_USED = "ALREADY_USED"
    FEWER_LEFT = "FEWER_LEFT"
    REFUNDED = "REFUNDED"
    UNPAID = "UNPAID"
    BLOCKED = "BLOCKED"
    VOUCHER_ON_HOLD = "VOUCHER_ON_HOLD"
    REVOKED = "REVOKED"
    WRONG_SITE = "WRONG_SITE"
    WRONG_SERVICE = "WRONG_SERVICE"
    OTHER_LANE = "OTHER_LANE"
    TOO_EARLY = "TOO_EARLY"
    EXPIRED = "EXPIRED"
    NO_SHOW = "NO_SHOW"
    NOT_TODAY = "NOT_TODAY"
    NOT_NOW = "NOT_NOW"
    DAY_LIMIT = "DAY_LIMIT"
    SITE_LIMIT = "SITE_LIMIT"
    PASSBACK = "PASSBACK"
    RULE = "RULE"
    FREE_VISIT_USED = "FREE_VISIT_USED"
    CREDIT_SUSPENDED = "CREDIT_SUSPENDED"
    NO_CREDIT = "NO_CREDIT"
    NO_ENTITLEMENT = "NO_ENTITLEMENT"
    NOT_CLEARED = "NOT_CLEARED"
    CAPACITY_REACHED = "CAPACITY_REACHED"
    RESERVED_ONLY = "RESERVED_ONLY"
    NOT_A_TICKET = "NOT_A_TICKET"
    MISTYPED = "MISTYPED"
    MALFORMED = "MALFORMED"
    UNKNOWN_KEY = "UNKNOWN_KEY"
    BAD_SIGNATURE = "BAD_SIGNATURE"

    @property
    def wording(self) -> Wording:
        """The words shown for this reason."""
        return WORDINGS[self]

    @property
    def verdict(self) -> Verdict:
        """The verdict this reason always comes with."""
        return WORDINGS[self].verdict

    @property
    def lamp(self) -> Lamp:
        """The colour in which the lane's lamp shows it."""
        return _LAMPS[self.verdict]

    @property
    def voice(self) -> str:
        """The name of the recording that says the display's words."""
        return self.value.lower().replace("_", "-")

    @property
    def is_mendable(self) -> bool:
        """Whether visitors can mend it themselves: with another code, at another lane, or at another time."""
        return self in _MENDABLE


@dataclass(frozen=True, slots=True)
class Wording:
    """What is shown for a reason.

    `zh` and `en` go on the public display: they say what to do next and never anything about a person.
    `staff_zh` and `staff_en` tell a member of staff why, and the next step. `override` is the least role that may let
    the visitor in all the same; None where nobody may.
    """

    verdict: Verdict
    zh: str
    en: str
    staff_zh: str
    staff_en: str
    override: Role | None = None


_COUNTER_ZH = "请到服务台办理"
_COUNTER_EN = "Please come to the service counter"

WORDINGS: dict[Reason, Wording] = {
    Reason.TICKET: Wording(
        Verdict.ADMIT, "欢迎光临，请通行", "Welcome, please go through", "有效门票", "Valid ticket"
    ),
    Reason.UNLISTED_TICKET: Wording(
        Verdict.ADMIT,
        "欢迎光临，请通行",
        "Welcome, please go through",
        "签名有效，名单尚未收录；按脱机限额放行",
        "Signed ticket the list does not have yet; admitted within the floor limit",
    ),
    Reason.FREE_VISIT: Wording(
        Verdict.ADMIT, "欢迎光临，本次免票", "Welcome, your visit is free", "首次免票", "First visit free"
    ),
    Reason.STATUTORY_FREE: Wording(
        Verdict.ADMIT,
        "欢迎光临，请通行",
        "Welcome, please go through",
        "按年龄法定免票；依据见条款",
        "Free by age; the clause says by what",
    ),
    Reason.CREDIT_ORDER: Wording(
        Verdict.ADMIT,
        "欢迎光临，先游后付",
        "Welcome, pay later",
        "信用订单放行；过闸后计费",
        "Admitted on a credit order; charged once they went through",
    ),
    Reason.CREDIT_LINE: Wording(
        Verdict.ADMIT,
        "欢迎光临，先游后付",
        "Welcome, pay later",
        "信用额度内放行",
        "Admitted on a credit line",
    ),
    Reason.REENTRY: Wording(
        Verdict.ADMIT,
        "欢迎回来，请通行",
        "Welcome back, please go through",
        "当日再入园，不扣次",
        "Back on the same ticket; no entry is spent",
    ),
    Reason.EXIT: Wording(
        Verdict.ADMIT,
        "谢谢光临，请慢走",
        "Thank you for coming, please go through",
        "出园登记",
        "On the way out",
    ),
    Reason.RESUMED: Wording(
        Verdict.ADMIT,
        "请继续通行",
        "Please go through now",
        "同一次核验继续，不重复计次",
        "The same admission continues; nothing is counted twice",
    ),
    Reason.OVERRIDDEN: Wording(
        Verdict.ADMIT,
        "欢迎光临，请通行",
        "Welcome, please go through",
        "工作人员放行；记录号可查何人何因",
        "Let in by staff; the record number tells who and why",
    ),
    Reason.NO_LIST: Wording(
        Verdict.REFER,
        "请稍候，工作人员马上协助您",
        "One moment please, our staff will help you",
        "本机还没有名单；请在服务台核验",
        "This box has no list yet; check at the counter",
        Role.STEWARD,
    ),
    Reason.UNLISTED_CODE: Wording(
        Verdict.REFER,
        "请向工作人员出示订单",
        "Please show your order to our staff",
        "名单中没有此码；请在订单系统中查询",
        "The list does not know this code; look the order up",
        Role.STEWARD,
    ),
    Reason.UNLISTED_LIMIT: Wording(
        Verdict.REFER,
        "请向工作人员出示订单",
        "Please show your order to our staff",
        "签名有效但今日脱机限额已满；请在订单系统中查询",
        "Signed, but today's floor limit is used up; look the order up",
        Role.STEWARD,
    ),
    Reason.UNKNOWN_PRODUCT: Wording(
        Verdict.REFER,
        "请向工作人员出示门票",
        "Please show your ticket to our staff",
        "名单中没有此票种；请人工核对适用范围",
        "The list does not know this product; check where it is valid",
        Role.STEWARD,
    ),
    Reason.KEY_WITHDRAWN: Wording(
        Verdict.REFER,
        "请向工作人员出示订单",
        "Please show your order to our staff",
        "签发此码的密钥已停用，且名单中没有此码；请在订单系统中查询，并重新出码",
        "The key that signed this code was withdrawn and the list does not have it; look the order up, issue it anew",
        Role.SUPERVISOR,
    ),
    Reason.CREDIT_DATA_OLD: Wording(
        Verdict.REFER,
        _COUNTER_ZH,
        _COUNTER_EN,
        "授信数据过旧；联网后重试，或请购票",
        "Credit data is too old; try again online, or sell a ticket",
        Role.SUPERVISOR,
    ),
    Reason.CREDIT_OFFLINE_LIMIT: Wording(
        Verdict.REFER,
        _COUNTER_ZH,
        _COUNTER_EN,
        "脱机授信限额已满；联网后重试，或请购票",
        "The floor limit for credit is used up; try again online, or sell a ticket",
        Role.SUPERVISOR,
    ),
    Reason.LATE: Wording(
        Verdict.REFER,
        "已过预约时段，请找工作人员",
        "Your time has passed; please see our staff",
        "票仍有效，按保留时间人工放行",
        "Late, and still held: let them in when there is room",
        Role.STEWARD,
    ),
    Reason.NOT_LIVE: Wording(
        Verdict.REFER,
        "请移开手机，再出示实时票码",
        "Please take your phone away and show its live code again",
        "不是手机实时票码（截图、打印件，或手机时间有误）；请在手机票面重新出示，仍不行再核对",
        "Not live: a picture, a print, or a phone whose clock is off; show it again from the phone, then look it up",
        Role.STEWARD,
    ),
    Reason.CLOCK_UNSURE: Wording(
        Verdict.REFER,
        "请稍候，工作人员为您核验",
        "One moment please, a member of staff will check it",
        "本机时间未确认，票似未到时间；请主管在手持机上校时，或核对票面时间后放行",
        "The box is not sure of the time and the ticket seems too early; have the clock set, or read the time on it",
        Role.STEWARD,
    ),
    Reason.PROOF_NEEDED: Wording(
        Verdict.REFER,
        "请向工作人员出示证件",
        "Please show your proof to our staff",
        "优惠票：请查验下列证件",
        "A concession: check what is named below",
        Role.STEWARD,
    ),
    Reason.CLEARANCE: Wording(
        Verdict.REFER,
        _COUNTER_ZH,
        _COUNTER_EN,
        "请人工查验下列凭证",
        "Check what is named below by hand",
        Role.STEWARD,
    ),
    Reason.RULE_UNREADABLE: Wording(
        Verdict.REFER,
        "请向工作人员出示门票",
        "Please show your ticket to our staff",
        "票种规则无法判断；请人工核对",
        "The product's rule cannot be evaluated; check by hand",
        Role.STEWARD,
    ),
    Reason.LANE_NOT_READY: Wording(
        Verdict.REFER,
        "请走旁边通道",
        "Please use the next lane",
        "闸机未连接或被占用；请检查闸机",
        "The turnstile is not connected or is held; check it",
    ),
    Reason.STORE_BROKEN: Wording(
        Verdict.REFER,
        "请走旁边通道",
        "Please use the next lane",
        "本机存储故障，无法记录；请停用本通道并报修",
        "The box cannot record; close this lane and call service",
    ),
    Reason.STORE_FULL: Wording(
        Verdict.REFER,
        "请走旁边通道",
        "Please use the next lane",
        "本机磁盘已满，无法记录；请引导至其他通道并通知运维清理",
        "The box's disk is full, so nothing can be recorded; lead visitors to another lane and have room made",
    ),
    Reason.ALREADY_USED: Wording(
        Verdict.DENY,
        "此票已使用；如有疑问请到服务台",
        "This ticket has been used; please ask at the service counter",
        "次数已用完；记录号可查时间和闸机",
        "No entries left; the record number tells when and where",
        Role.SUPERVISOR,
    ),
    Reason.FEWER_LEFT: Wording(
        Verdict.DENY,
        "剩余人数不足，请减少人数",
        "Not enough entries left for so many; please come in with fewer",
        "剩余次数少于人数；按剩余人数重新核验",
        "Fewer entries are left than persons; check again with as many as are left",
        Role.SUPERVISOR,
    ),
    Reason.REFUNDED: Wording(
        Verdict.DENY,
        "此票已退；请到售票处购票",
        "This ticket was refunded; please buy one at the ticket office",
        "已全部退票",
        "Refunded in full",
        Role.SUPERVISOR,
    ),
    Reason.UNPAID: Wording(
        Verdict.DENY,
        "此票尚未付款；请到售票处",
        "This ticket is not paid yet; please come to the ticket office",
        "订单未付款",
        "The order is not paid",
        Role.SUPERVISOR,
    ),
    Reason.VOUCHER_ON_HOLD: Wording(
        Verdict.DENY,
        _COUNTER_ZH,
        _COUNTER_EN,
        "赠券商户目前不在有效名单内，券暂停使用；请在服务台核对，券不扣次",
        "The voucher's merchant is not in good standing for now; help at the counter, nothing was spent",
        Role.SUPERVISOR,
    ),
    Reason.BLOCKED: Wording(
        Verdict.DENY,
        "请携订单到服务台",
        "Please bring your order to the service counter",
        "门票已被冻结；请在订单系统中查询原因",
        "The ticket is blocked; the order system says why",
        Role.SUPERVISOR,
    ),
    Reason.REVOKED: Wording(
        Verdict.DENY,
        "此票已作废；请到服务台",
        "This ticket was cancelled; please come to the service counter",
        "已作废或已换新码",
        "Cancelled, or replaced by a new code",
        Role.SUPERVISOR,
    ),
    Reason.WRONG_SITE: Wording(
        Verdict.DENY,
        "此票不适用于本景区；请查看票面景区",
        "This ticket is for another site; please check the site on it",
        "票种不含本景区",
        "The product does not include this site",
        Role.SUPERVISOR,
    ),
    Reason.WRONG_SERVICE: Wording(
        Verdict.DENY,
        "此票不含本项目；请到售票处",
        "This ticket does not include this; please ask at the ticket office",
        "票种不含本项服务",
        "The product has no right to this service",
        Role.SUPERVISOR,
    ),
    Reason.OTHER_LANE: Wording(
        Verdict.DENY,
        "此为绿色通道，请走普通通道",
        "This is the priority lane; please use an ordinary lane",
        "不享受绿色通道；票未核销，请引导至普通通道",
        "No right to the priority lane; nothing was spent, show them to an ordinary lane",
        Role.STEWARD,
    ),
    Reason.TOO_EARLY: Wording(
        Verdict.DENY,
        "未到入园时间；请按票面时间再来",
        "Not valid yet; please come back at the time on your ticket",
        "早于有效期",
        "Before the ticket's validity",
        Role.SUPERVISOR,
    ),
    Reason.EXPIRED: Wording(
        Verdict.DENY,
        "已过有效期；请到服务台",
        "No longer valid; please come to the service counter",
        "晚于有效期；可改签则改签",
        "After its validity; rebook it where the product allows",
        Role.SUPERVISOR,
    ),
    Reason.NO_SHOW: Wording(
        Verdict.DENY,
        "已过保留时间；请到服务台改签",
        "Held no longer; please rebook at the service counter",
        "保留时间已过，按未到处理；可改签",
        "The hold is over; rebook where the product allows",
        Role.SUPERVISOR,
    ),
    Reason.NOT_TODAY: Wording(
        Verdict.DENY,
        "今日不可用；请看票面日期",
        "Not valid today; please see the dates on your ticket",
        "不适用日期；下一可用日见下",
        "A blackout day; the next good day is below",
        Role.SUPERVISOR,
    ),
    Reason.NOT_NOW: Wording(
        Verdict.DENY,
        "此时段不可用；请看票面时间",
        "Not valid at this time; please see your ticket",
        "不在可用时段；下一时段见下",
        "Outside its hours; the next are below",
        Role.SUPERVISOR,
    ),
    Reason.DAY_LIMIT: Wording(
        Verdict.DENY,
        "今日次数已用完；请明日再来",
        "Used up for today; please come back tomorrow",
        "今日次数已用完",
        "Today's entries are used",
        Role.SUPERVISOR,
    ),
    Reason.SITE_LIMIT: Wording(
        Verdict.DENY,
        "本景区次数已用完；请去其他景区",
        "Used up at this site; please use another site on your ticket",
        "本景区次数已用完",
        "Its entries at this site are used",
        Role.SUPERVISOR,
    ),
    Reason.PASSBACK: Wording(
        Verdict.DENY,
        "此票刚刚使用过；请稍后再试",
        "This ticket was just used; please try again later",
        "防传递时间内",
        "Within the anti-passback time",
        Role.SUPERVISOR,
    ),
    Reason.RULE: Wording(
        Verdict.DENY,
        "此票现在不可用；请到服务台",
        "Not valid here and now; please ask at the service counter",
        "不符合票种规则；原因见下",
        "The product's rule refuses; why is below",
        Role.SUPERVISOR,
    ),
    Reason.FREE_VISIT_USED: Wording(
        Verdict.DENY,
        "免票次数已使用；请到售票处购票",
        "The free visit has been used; please buy a ticket at the office",
        "本景区首次免票已使用",
        "The first free visit at this site has been used",
        Role.SUPERVISOR,
    ),
    Reason.CREDIT_SUSPENDED: Wording(
        Verdict.DENY,
        _COUNTER_ZH,
        _COUNTER_EN,
        "授信已暂停；结清欠款后由中心恢复，或请购票",
        "The credit line is suspended; the centre restores it once it is settled, or sell a ticket",
        Role.SUPERVISOR,
    ),
    Reason.NO_CREDIT: Wording(
        Verdict.DENY,
        _COUNTER_ZH,
        _COUNTER_EN,
        "授信额度不足或不适用；请购票",
        "The credit line does not cover this visit; sell a ticket",
        Role.SUPERVISOR,
    ),
    Reason.NO_ENTITLEMENT: Wording(
        Verdict.DENY,
        "请到售票处购票",
        "Please buy a ticket at the ticket office",
        "此凭证在本景区没有可用权益",
        "This credential carries no right at this site",
        Role.SUPERVISOR,
    ),
    Reason.NOT_CLEARED: Wording(
        Verdict.DENY,
        _COUNTER_ZH,
        _COUNTER_EN,
        "按现行规定不能放行；请在服务台办理，票不扣次",
        "Present rules do not let them in; help at the counter, nothing was spent",
        Role.SUPERVISOR,
    ),
    Reason.CAPACITY_REACHED: Wording(
        Verdict.DENY,
        "景区已满，请稍候或到服务台",
        "The site is full; please wait or ask at the service counter",
        "已达核定承载量或本机份额已用完；有人离园后可再验",
        "The approved capacity is reached, or this box's share of it; scan again when visitors have left",
    ),
    Reason.RESERVED_ONLY: Wording(
        Verdict.DENY,
        "客流高峰，仅限预约入园；请到服务台",
        "Very busy: reservations only; please ask at the service counter",
        "红色预警：已预约的可入园，散客暂停",
        "Red alert: reservations still enter, walk-ups do not",
        Role.SUPERVISOR,
    ),
    Reason.NOT_A_TICKET: Wording(
        Verdict.DENY,
        "这不是门票；请打开订单中的入园码",
        "This is not a ticket; please open the entry code in your order",
        "不是门票码（如付款码、网址）",
        "Not a ticket code (a payment code or a web address, say)",
        Role.SUPERVISOR,
    ),
    Reason.MISTYPED: Wording(
        Verdict.DENY,
        "票码有误，请核对后重新输入",
        "Please check the code and enter it again",
        "短码校验字符不符；请逐字核对后重新输入",
        "The check character of the short code is wrong; compare it letter by letter and type it again",
        Role.SUPERVISOR,
    ),
    Reason.MALFORMED: Wording(
        Verdict.DENY,
        "无法识别此码；请重新打开入园码",
        "This code is damaged; please open it again",
        "入园码残缺或格式错误",
        "The code is cut short or not in the right form",
        Role.SUPERVISOR,
    ),
    Reason.UNKNOWN_KEY: Wording(
        Verdict.DENY,
        "无法验证此票；请到服务台",
        "This ticket cannot be verified; please come to the service counter",
        "签发机构不受信任；请在订单系统中查询",
        "Its issuer is not trusted here; look the order up",
        Role.SUPERVISOR,
    ),
    Reason.BAD_SIGNATURE: Wording(
        Verdict.DENY,
        "无法验证此票；请到服务台",
        "This ticket cannot be verified; please come to the service counter",
        "签名无效，可能是伪造或改动过的码",
        "The signature is wrong: forged or altered",
    ),
}

_MENDABLE = frozenset(
    (
        Reason.LANE_NOT_READY,
        Reason.STORE_BROKEN,
        Reason.STORE_FULL,
        Reason.NOT_LIVE,
        Reason.UNPAID,
        Reason.WRONG_SITE,
        Reason.WRONG_SERVICE,
        Reason.OTHER_LANE,
        Reason.TOO_EARLY,
        Reason.NOT_TODAY,
        Reason.NOT_NOW,
        Reason.DAY_LIMIT,
        Reason.FEWER_LEFT,
        Reason.SITE_LIMIT,
        Reason.PASSBACK,
        Reason.CAPACITY_REACHED,
        Reason.NOT_A_TICKET,
        Reason.MISTYPED,
        Reason.MALFORMED,
    )
)
