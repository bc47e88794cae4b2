//! What became of a check, and by which rule: for answers, logs, counters and `explain`.

use crate::{auth, needs::Need, plain};
use std::fmt;

/// Why something was allowed or refused, in the few words that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is allowed.
    Allowed,
    /// The request names no account.
    NoCredentials,
    /// It names one that is unknown.
    UnknownAccount,
    /// It names one that is switched off.
    DisabledAccount,
    /// It is not signed with the account's secret.
    BadSignature,
    /// It administers, and the account does not.
    NotAdmin,
    /// No rule allows it.
    NoRule,
    /// A rule denies it.
    Denied,
}

impl Reason {
    /// Reasons to refuse, in the order of [`Reason::index`].
    pub const REFUSALS: [Reason; 7] = [
        Reason::NoCredentials,
        Reason::UnknownAccount,
        Reason::DisabledAccount,
        Reason::BadSignature,
        Reason::NotAdmin,
        Reason::NoRule,
        Reason::Denied,
    ];

    /// Name in counters and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Allowed => "allowed",
            Reason::NoCredentials => "noCredentials",
            Reason::UnknownAccount => "unknownAccount",
            Reason::DisabledAccount => "disabledAccount",
            Reason::BadSignature => "badSignature",
            Reason::NotAdmin => "notAdmin",
            Reason::NoRule => "noRule",
            Reason::Denied => "denied",
        }
    }

    /// Place among [`Reason::REFUSALS`].
    pub fn index(self) -> Option<usize> {
        Reason::REFUSALS.iter().position(|reason| *reason == self)
    }
}

/// The rule that decided.
#[derive(Clone, Copy, Debug)]
pub enum Rule<'a> {
    /// 4.9: the sender's address is on the white list of all accounts.
    GlobalWhiteList(&'a plain::WhiteAddress),
    /// 4.9: it is on the account's own list.
    AccountWhiteList(&'a plain::Account),
    /// 4.9: every account may write message traces.
    TraceTopic,
    /// The account administers.
    Admin(&'a plain::Account),
    /// 4.9: the account's line for a topic or a group.
    Listed(&'a plain::Account, plain::Perm),
    /// 4.9: the account's default.
    Default(&'a plain::Account, plain::Perm),
    /// 5.x: the user is a super user.
    SuperUser,
    /// 5.x: the request code is on a white list.
    CodeWhiteList,
    /// 5.x: an entry of a policy.
    Policy(auth::PolicyType, &'a auth::Entry),
    /// An account that is known may do this.
    Known,
    /// There is none.
    None,
}

impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::GlobalWhiteList(white) => write!(f, "globalWhiteRemoteAddresses {}", white.text),
            Rule::AccountWhiteList(account) => {
                write!(f, "whiteRemoteAddress {}", account.white_text())
            }
            Rule::TraceTopic => f.write_str("every account may write message traces"),
            Rule::Admin(account) if account.admin => f.write_str("admin: true"),
            Rule::Admin(_) => f.write_str("admin: false"),
            Rule::Listed(_, perm) => write!(f, "permission {perm}"),
            Rule::Default(_, perm) => write!(f, "default permission {perm}"),
            Rule::SuperUser => f.write_str("userType Super"),
            Rule::CodeWhiteList => f.write_str("white list of request codes"),
            Rule::Policy(kind, entry) => write!(f, "{} policy: {entry}", kind.name()),
            Rule::Known => f.write_str("every account may"),
            Rule::None => f.write_str("no rule"),
        }
    }
}

/// What became of a check.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// Why.
    pub reason: Reason,
    /// The rule that decided.
    pub rule: Rule<'a>,
    /// The account, as far as the request names one.
    pub account: Option<&'a str>,
    /// What was refused, if it was one thing.
    pub need: Option<Need<'a>>,
    /// The file of the rule.
    pub file: Option<&'a str>,
}

impl<'a> Decision<'a> {
    pub(crate) fn allowed(rule: Rule<'a>, account: Option<&'a str>) -> Decision<'a> {
        Decision { reason: Reason::Allowed, rule, account, need: None, file: None }
    }

    pub(crate) fn refused(
        reason: Reason,
        rule: Rule<'a>,
        account: Option<&'a str>,
    ) -> Decision<'a> {
        Decision { reason, rule, account, need: None, file: None }
    }

    pub(crate) fn on(self, need: &Need<'a>) -> Decision<'a> {
        Decision { need: Some(*need), ..self }
    }

    pub(crate) fn in_file(self, file: &'a str) -> Decision<'a> {
        Decision { file: Some(file), ..self }
    }

    /// For who asks which rule decides.
    pub fn to_json(&self) -> Vec<u8> {
        let decision = if self.is_allowed() { "Allow" } else { "Deny" };
        let json = serde_json::json!({
            "decision": decision,
            "reason": self.reason.name(),
            "rule": self.rule.to_string(),
            "account": self.account,
            "file": self.file,
        });
        json.to_string().into_bytes()
    }

    /// Whether it is allowed.
    pub fn is_allowed(&self) -> bool {
        self.reason == Reason::Allowed
    }
}
