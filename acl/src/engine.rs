//! One generation's rules behind one face: who sent a request, and whether he may.

use crate::{
    auth::{self, Auth},
    decision::{Decision, Reason},
    needs::{Action, Needs, Resource},
    plain::{self, Plain},
    signature::{ACCESS_KEY, SIGNATURE},
};
use proto::command::Ext;
use std::net::IpAddr;

/// A request, as far as access control looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Its code.
    pub code: i32,
    /// Who sent it.
    pub source: IpAddr,
    /// Its ext fields.
    pub ext: Ext<'a>,
    /// Its body, as it came.
    pub body: &'a [u8],
}

impl<'a> Call<'a> {
    /// The account that it names. The C++ client writes an empty one when it has none.
    pub fn access_key(&self) -> Option<&'a str> {
        self.ext.get(ACCESS_KEY).map(str::trim).filter(|key| !key.is_empty())
    }

    pub(crate) fn signature(&self) -> &'a str {
        self.ext.get(SIGNATURE).unwrap_or_default()
    }
}

/// Who sent a request.
#[derive(Clone, Copy, Debug)]
pub enum Caller<'a> {
    /// Whoever it is, a white list lets him pass.
    Free(Decision<'a>),
    /// An account of 4.9's rules.
    Account(&'a plain::Account),
    /// A user of 5.x's.
    User(&'a auth::User),
}

impl<'a> Caller<'a> {
    /// Name of the account.
    pub fn name(&self) -> Option<&'a str> {
        match self {
            Caller::Free(decision) => decision.account,
            Caller::Account(account) => Some(&account.access_key),
            Caller::User(user) => Some(&user.username),
        }
    }

    /// Whether it is a super user of 5.x, or nobody that could be less.
    pub fn is_super(&self) -> bool {
        match self {
            Caller::Free(_) => true,
            Caller::Account(account) => account.admin,
            Caller::User(user) => user.is_super(),
        }
    }
}

/// What somebody asks to have explained.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The account.
    pub account: &'a str,
    /// What it would touch.
    pub resource: Resource<'a>,
    /// What it would do there.
    pub action: Action,
    /// From where, if that matters.
    pub source: Option<IpAddr>,
}

/// The rules of a server.
#[derive(Clone, Debug)]
pub enum Engine {
    /// Those of 4.9.
    Plain(Plain),
    /// Those of 5.x.
    Auth(Auth),
}

impl Engine {
    /// Who sent a request: its account, if its signature is right.
    pub fn authenticate<'a>(&'a self, call: &Call<'a>) -> Result<Caller<'a>, Decision<'a>> {
        match self {
            Engine::Plain(plain) => plain.authenticate(call),
            Engine::Auth(auth) => auth.authenticate(call),
        }
    }

    /// Whether the sender of a request may have what it needs.
    pub fn authorize<'a>(
        &'a self,
        caller: Caller<'a>,
        call: &Call<'a>,
        needs: &Needs<'a>,
    ) -> Decision<'a> {
        match caller {
            Caller::Free(decision) => decision,
            Caller::Account(account) => plain::authorize(account, needs),
            Caller::User(user) => match self {
                Engine::Auth(auth) => auth.authorize(user, Some((call.code, call.source)), needs),
                Engine::Plain(_) => Decision::refused(
                    Reason::UnknownAccount,
                    crate::Rule::None,
                    Some(&user.username),
                ),
            },
        }
    }

    /// Both.
    pub fn check<'a>(&'a self, call: &Call<'a>, needs: &Needs<'a>) -> Decision<'a> {
        match self.authenticate(call) {
            Ok(caller) => self.authorize(caller, call, needs),
            Err(refused) => refused,
        }
    }

    /// What would become of a request with a right signature.
    pub fn explain<'a>(&'a self, question: &Question<'a>, needs: &Needs<'a>) -> Decision<'a> {
        match self {
            Engine::Plain(plain) => plain.explain(question, needs),
            Engine::Auth(auth) => auth.explain(question, needs),
        }
    }

    /// What is said of a refusal: Java's words first, which clients and scripts know.
    pub fn remark(&self, call: &Call<'_>, decision: &Decision<'_>) -> String {
        match self {
            Engine::Plain(_) => plain::remark(call, decision),
            Engine::Auth(_) => auth::remark(call, decision),
        }
    }
}
