//! Access control of 5.x: users and their policies (3001 to 3010), and of ours: why somebody may do something (19101).

use proto::body::{AclInfo, BodyError, UserInfo};
use proto::code::request;

use super::{AdminError, DefaultMqAdminExt};

/// What somebody wants to do, for [`DefaultMqAdminExt::explain_access`].
#[derive(Clone, Copy, Debug)]
pub struct AccessQuestion<'a> {
    /// User of 5.x, or access key of 4.9.
    pub user: &'a str,
    /// A topic.
    pub topic: Option<&'a str>,
    /// A consumer group. Neither this nor a topic: the cluster.
    pub group: Option<&'a str>,
    /// As 5.x names actions: `Pub`, `Sub`, `Create` and others.
    pub action: &'a str,
    /// Address that it comes from.
    pub source_ip: Option<&'a str>,
}

/// What a broker answers to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessDecision {
    /// `Allow` or `Deny`.
    pub decision: String,
    /// Why, in a word.
    pub reason: String,
    /// The rule that decided, as it is written down.
    pub rule: String,
    /// The file that the rule stands in, where it stands in one.
    pub file: Option<String>,
}

impl DefaultMqAdminExt {
    /// AUTH_CREATE_USER (3001) at a broker.
    pub async fn create_user(&self, addr: &str, user: &UserInfo) -> Result<(), AdminError> {
        self.send_user(request::AUTH_CREATE_USER, addr, user).await
    }

    /// AUTH_UPDATE_USER (3002) at a broker; what is not given stays.
    pub async fn update_user(&self, addr: &str, user: &UserInfo) -> Result<(), AdminError> {
        self.send_user(request::AUTH_UPDATE_USER, addr, user).await
    }

    async fn send_user(&self, code: i32, addr: &str, user: &UserInfo) -> Result<(), AdminError> {
        let mut body = Vec::new();
        user.write(&mut body);
        let ext = [("username", user.username.as_deref().unwrap_or_default().into())];
        let mut request = self.request(code, &ext);
        request.body = &body;
        self.ask_broker(addr, &request).await?.success().map(drop)
    }

    /// AUTH_DELETE_USER (3003) at a broker.
    pub async fn delete_user(&self, addr: &str, username: &str) -> Result<(), AdminError> {
        let ext = [("username", username.into())];
        let request = self.request(request::AUTH_DELETE_USER, &ext);
        self.ask_broker(addr, &request).await?.success().map(drop)
    }

    /// AUTH_GET_USER (3004): a user of a broker; `None` when it has no such user.
    pub async fn get_user(
        &self,
        addr: &str,
        username: &str,
    ) -> Result<Option<UserInfo>, AdminError> {
        let ext = [("username", username.into())];
        let request = self.request(request::AUTH_GET_USER, &ext);
        self.ask_broker(addr, &request).await?.body(if_any(UserInfo::read))
    }

    /// AUTH_LIST_USER (3005): users of a broker whose name holds this text.
    pub async fn list_user(
        &self,
        addr: &str,
        filter: Option<&str>,
    ) -> Result<Vec<UserInfo>, AdminError> {
        let ext: Vec<_> = filter.map(|text| ("filter", text.into())).into_iter().collect();
        let request = self.request(request::AUTH_LIST_USER, &ext);
        let read = self.ask_broker(addr, &request).await?.body(if_any(UserInfo::read_list));
        Ok(read?.unwrap_or_default())
    }

    /// AUTH_CREATE_ACL (3006) at a broker.
    pub async fn create_acl(&self, addr: &str, acl: &AclInfo) -> Result<(), AdminError> {
        self.send_acl(request::AUTH_CREATE_ACL, addr, acl).await
    }

    /// AUTH_UPDATE_ACL (3007) at a broker.
    pub async fn update_acl(&self, addr: &str, acl: &AclInfo) -> Result<(), AdminError> {
        self.send_acl(request::AUTH_UPDATE_ACL, addr, acl).await
    }

    async fn send_acl(&self, code: i32, addr: &str, acl: &AclInfo) -> Result<(), AdminError> {
        let mut body = Vec::new();
        acl.write(&mut body);
        let ext = [("subject", acl.subject.as_deref().unwrap_or_default().into())];
        let mut request = self.request(code, &ext);
        request.body = &body;
        self.ask_broker(addr, &request).await?.success().map(drop)
    }

    /// AUTH_DELETE_ACL (3008) at a broker: all policies of a subject, or what they say about one resource.
    pub async fn delete_acl(
        &self,
        addr: &str,
        subject: &str,
        resource: Option<&str>,
    ) -> Result<(), AdminError> {
        let mut ext = vec![("subject", subject.into())];
        ext.extend(resource.map(|resource| ("resource", resource.into())));
        let request = self.request(request::AUTH_DELETE_ACL, &ext);
        self.ask_broker(addr, &request).await?.success().map(drop)
    }

    /// AUTH_GET_ACL (3009): policies of a subject; `None` when there are none.
    pub async fn get_acl(&self, addr: &str, subject: &str) -> Result<Option<AclInfo>, AdminError> {
        let ext = [("subject", subject.into())];
        let request = self.request(request::AUTH_GET_ACL, &ext);
        self.ask_broker(addr, &request).await?.body(if_any(AclInfo::read))
    }

    /// AUTH_LIST_ACL (3010): policies of subjects that hold this text, about resources that hold that one.
    pub async fn list_acl(
        &self,
        addr: &str,
        subject: Option<&str>,
        resource: Option<&str>,
    ) -> Result<Vec<AclInfo>, AdminError> {
        let filters = [("subjectFilter", subject), ("resourceFilter", resource)];
        let given = filters.into_iter().filter_map(|(name, text)| Some((name, text?.into())));
        let ext: Vec<_> = given.collect();
        let request = self.request(request::AUTH_LIST_ACL, &ext);
        let read = self.ask_broker(addr, &request).await?.body(if_any(AclInfo::read_list));
        Ok(read?.unwrap_or_default())
    }

    /// EXPLAIN_ACCESS (19101), a request of ours: whether somebody may do something, and which rule says so.
    pub async fn explain_access(
        &self,
        addr: &str,
        question: &AccessQuestion<'_>,
    ) -> Result<AccessDecision, AdminError> {
        let optional = [
            ("topic", question.topic),
            ("group", question.group),
            ("sourceIp", question.source_ip),
        ];
        let mut ext = vec![("user", question.user.into()), ("action", question.action.into())];
        ext.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?.into()))));
        let request = self.request(request::EXPLAIN_ACCESS, &ext);
        let json = self.ask_broker(addr, &request).await?.read(|answer| answer.json())?;
        let text = |name: &str| json.get(name).and_then(|v| v.as_str()).map(str::to_owned);
        Ok(AccessDecision {
            decision: text("decision").unwrap_or_default(),
            reason: text("reason").unwrap_or_default(),
            rule: text("rule").unwrap_or_default(),
            file: text("file"),
        })
    }
}

/// No body means nothing was found.
fn if_any<T>(
    read: impl FnOnce(&[u8]) -> Result<T, BodyError>,
) -> impl FnOnce(&[u8]) -> Result<Option<T>, BodyError> {
    |body| if body.is_empty() { Ok(None) } else { read(body).map(Some) }
}
