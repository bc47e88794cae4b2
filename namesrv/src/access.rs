//! Who may do what at a name server. Java's has no access control; here what changes routes and settings, or shows these, takes an
//! administrator once there are rules.
//!
//! Clients' requests (routes, lists of topics, the cluster) stay open, as clients sign them or not. So do brokers' registrations,
//! since Java's brokers of 4.9 sign none: `aclRegistrationEnable` closes them for clusters whose brokers all have
//! `innerClientAuthenticationCredentials`.

use crate::handle::Response;
use acl::{Action, Call, Engine, Needs, Resource};
use proto::{
    code::{request as ask, response},
    command::Header,
};
use std::{cell::RefCell, net::IpAddr, rc::Rc, sync::Arc};

/// Rules that may be replaced while the name server runs. None: everybody may do everything.
pub type SharedEngine = Rc<RefCell<Option<Arc<Engine>>>>;

/// The rules, and what they are about.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    engine: SharedEngine,
    cluster: String,
}

impl Guard {
    /// Rules, and the name that policies of 5.x know the cluster by.
    pub fn new(engine: SharedEngine, cluster: &str) -> Guard {
        Guard { engine, cluster: cluster.to_owned() }
    }

    /// The refusal of a request, if it is refused. `registration`: brokers have to sign, too.
    pub fn refuse(
        &self,
        header: &Header<'_>,
        body: &[u8],
        source: IpAddr,
        registration: bool,
    ) -> Option<Response> {
        let engine = self.engine.borrow();
        let engine = engine.as_deref()?;
        let actions = actions_of(header.code, registration)?;
        let call = Call { code: header.code, source, ext: header.ext, body };
        let mut needs = Needs::of_admin();
        needs.add(Resource::cluster(&self.cluster), actions);
        let decision = engine.check(&call, &needs);
        if decision.is_allowed() {
            return None;
        }
        let remark = engine.remark(&call, &decision);
        let code = match engine {
            Engine::Plain(_) => response::SYSTEM_ERROR,
            Engine::Auth(_) => response::NO_PERMISSION,
        };
        tracing::debug!(peer = %source, code = header.code, remark, "a request is refused");
        Some(Response::refuse(code, remark))
    }
}

/// What a request does to the cluster; `None`: it is open.
fn actions_of(code: i32, registration: bool) -> Option<&'static [Action]> {
    match code {
        ask::PUT_KV_CONFIG
        | ask::DELETE_KV_CONFIG
        | ask::WIPE_WRITE_PERM_OF_BROKER
        | ask::ADD_WRITE_PERM_OF_BROKER
        | ask::DELETE_TOPIC_IN_NAMESRV
        | ask::UPDATE_NAMESRV_CONFIG => Some(Action::Update.alone()),
        ask::GET_KV_CONFIG | ask::GET_KVLIST_BY_NAMESPACE | ask::GET_NAMESRV_CONFIG => {
            Some(Action::Get.alone())
        }
        ask::REGISTER_BROKER
        | ask::UNREGISTER_BROKER
        | ask::REGISTER_TOPIC_IN_NAMESRV
        | ask::QUERY_DATA_VERSION
        | ask::BROKER_HEARTBEAT => registration.then_some(Action::Update.alone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use acl::plain::{self, Plain};
    use proto::command::{self, ExtValue, HeaderArena, HeaderKind, Language, RequestHead};
    use proto::frame::next_frame;

    fn ask(guard: &Guard, code: i32, signer: Option<&acl::Signer>, registration: bool) -> bool {
        let mut ext: Vec<(&str, ExtValue<'_>)> = vec![("namespace", "n".into())];
        let signature = signer.map(|signer| signer.sign(&ext, b""));
        if let (Some(signer), Some(signature)) = (signer, &signature) {
            ext.push((acl::ACCESS_KEY, signer.access_key().into()));
            ext.push((acl::SIGNATURE, signature.as_str().into()));
        }
        let (language, version, opaque) = (Language::Java, 409, 1);
        let head =
            RequestHead { code, language, version, opaque, oneway: false, remark: None, ext: &ext };
        let mut bytes = Vec::new();
        command::write_request(&mut bytes, HeaderKind::Json, &head, b"");
        let frame = next_frame(&bytes).expect("ours").expect("whole");
        let mut arena = HeaderArena::default();
        let header = command::decode(frame.kind, frame.header, &mut arena).expect("ours");
        guard.refuse(&header, frame.body, [10, 0, 0, 1].into(), registration).is_none()
    }

    #[test]
    fn administrators_change_things_and_clients_are_not_asked() {
        let text = "accounts:\n- {accessKey: operator, secretKey: 12345678, admin: true}\n\
                    - {accessKey: somebody, secretKey: 12345678, defaultTopicPerm: PUB|SUB}\n";
        let file = plain::read(text).expect("good");
        let (plain, _) = Plain::of(vec![("f".to_owned(), file)]);
        let engine = Rc::new(RefCell::new(Some(Arc::new(Engine::Plain(plain)))));
        let guard = Guard::new(engine, "c");
        let operator = acl::Signer::new("operator", "12345678").expect("any");
        let somebody = acl::Signer::new("somebody", "12345678").expect("any");
        let forger = acl::Signer::new("operator", "12345679").expect("any");
        for code in [100, 101, 102, 205, 216, 219, 318, 319, 327] {
            assert!(ask(&guard, code, Some(&operator), false), "{code}");
            for other in [None, Some(&somebody), Some(&forger)] {
                assert!(!ask(&guard, code, other, false), "{code} {other:?}");
            }
        }
        for code in [105, 106, 206, 224] {
            assert!(ask(&guard, code, None, true), "{code}");
        }
        for code in [103, 104, 217, 322, 904] {
            assert!(ask(&guard, code, None, false), "{code}");
            assert!(!ask(&guard, code, None, true), "{code}");
            assert!(ask(&guard, code, Some(&operator), true), "{code}");
        }
        assert!(ask(&Guard::default(), 318, None, true), "no rules, nothing to ask");
    }
}
