//! One request in, one answer out: everything a name server can be asked, in one match.
//!
//! Pure: [`Namesrv`] changes, nothing is read or written elsewhere. A [`Response`] that must not leave before a file is on
//! disk says so in `save`; [`crate::server`] does that. Bodies and headers are foreign bytes: whatever is wrong with them is an
//! answer with code 1 (or 17, 22), never a panic.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    ops::Deref,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use daemon::config_body::{entries_of, reasons_text, told};
use proto::{
    body::{
        BodyError, DataVersion, KvTable, RegisterBrokerBody, RouteData, TopicConfigTable, TopicList,
    },
    code::{request as ask, response},
    command::{ExtValue, Header, HeaderKind, ResponseHead, write_response},
    frame::FRAME_BYTES_MAX,
    record::body_crc,
    request::{self as fields, FieldError},
};
use remoting::ConnectionId;
use runtime::{Millis, Uptime};

use crate::{
    access::{Guard, SharedEngine},
    config::Config,
    kv::{KvConfig, ORDER_TOPIC_NAMESPACE},
    metrics::Figures,
    routes::{Change, Registration, Routes, UnitFilter},
    topic_lists::{List, TopicLists},
};

/// From this version of the asking client on (V4_9_4) routes are strict JSON. Source: 4.9.8 `DefaultRequestProcessor`.
const STANDARD_JSON_VERSION_MIN: i32 = 401;
/// Largest body of an answer: what a frame holds besides the header, for which this is more than enough, bytes.
const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - 64 * 1024;
/// From this version of a broker on (V3_0_11) a registration carries more than the topic table.
const REGISTER_BODY_VERSION_MIN: i32 = 37;

/// Everything a name server knows.
#[derive(Debug)]
pub struct Namesrv {
    routes: Routes,
    kv: KvConfig,
    config: Config,
    config_generation: u64,
    topic_lists: TopicLists,
    /// Connections that open files leave room for.
    connections_room: usize,
    guard: Guard,
    figures: Figures,
}

/// A file that has to be written before an answer may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Save {
    /// The KV table.
    Kv,
    /// The settings.
    Config,
}

/// One request of one connection.
pub struct Request<'a> {
    /// Its decoded header.
    pub header: &'a Header<'a>,
    /// Its body.
    pub body: &'a [u8],
    /// Where it came from: a broker lives as long as the connection over which it registered.
    pub connection: ConnectionId,
    /// The same for people.
    pub addr: SocketAddr,
}

/// What is answered, without the frame around it.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// Response code.
    pub code: i32,
    /// Text for people.
    pub remark: Option<Cow<'static, str>>,
    /// Ext fields in the order in which they are written.
    pub ext: Vec<(&'static str, Value)>,
    /// Body, empty for none.
    pub body: Body,
    /// To be on disk before this answer leaves.
    pub save: Option<Save>,
}

/// The body of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Made for this answer.
    Own(Vec<u8>),
    /// Made for all who ask the same.
    Shared(Arc<[u8]>),
}

impl Default for Body {
    fn default() -> Body {
        Body::Own(Vec::new())
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Body::Own(bytes) => bytes,
            Body::Shared(bytes) => bytes,
        }
    }
}

/// Value of an ext field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A number.
    Number(i64),
    /// A truth value.
    Bool(bool),
}

impl Response {
    /// Code 0 and nothing else.
    pub fn success() -> Response {
        Response {
            code: response::SUCCESS,
            remark: None,
            ext: Vec::new(),
            body: Body::default(),
            save: None,
        }
    }

    /// A refusal and its reason.
    pub fn refuse(code: i32, remark: impl Into<Cow<'static, str>>) -> Response {
        Response { code, remark: Some(remark.into()), ..Response::success() }
    }

    /// Appends the response frame.
    pub fn write_to(&self, out: &mut Vec<u8>, kind: HeaderKind, opaque: i32) {
        let ext: Vec<(&str, ExtValue<'_>)> = self
            .ext
            .iter()
            .map(|(name, value)| {
                let value = match value {
                    Value::Text(text) => ExtValue::Str(text),
                    Value::Number(number) => ExtValue::I64(*number),
                    Value::Bool(bool) => ExtValue::Bool(*bool),
                };
                (*name, value)
            })
            .collect();
        let mut head =
            ResponseHead { code: self.code, opaque, remark: self.remark.as_deref(), ext: &ext };
        if self.body.len() <= BODY_BYTES_MAX {
            return write_response(out, kind, &head, &self.body);
        }
        // Nobody could read it.
        let remark =
            format!("the answer takes {} bytes, a frame holds {BODY_BYTES_MAX}", self.body.len());
        (head.code, head.remark, head.ext) = (response::SYSTEM_ERROR, Some(remark.as_str()), &[]);
        write_response(out, kind, &head, &[]);
    }

    fn with_body(write: impl FnOnce(&mut Vec<u8>)) -> Response {
        let mut body = Vec::new();
        write(&mut body);
        Response { body: Body::Own(body), ..Response::success() }
    }

    fn with_ext(mut self, name: &'static str, value: Value) -> Response {
        self.ext.push((name, value));
        self
    }

    fn saving(mut self, what: Save) -> Response {
        self.save = Some(what);
        self
    }
}

/// A header that cannot be read is code 1, as Java's failure behind it is.
impl From<FieldError> for Response {
    fn from(error: FieldError) -> Response {
        Response::refuse(response::SYSTEM_ERROR, error.to_string())
    }
}

impl Namesrv {
    /// An empty name server with these settings and this KV table.
    pub fn new(config: Config, kv: KvConfig) -> Namesrv {
        let (routes, topic_lists) = (Routes::new(), TopicLists::default());
        let connections_room = usize::MAX;
        let guard = Guard::default();
        let figures = Figures::default();
        let config_generation = 0;
        Namesrv {
            routes,
            kv,
            config,
            config_generation,
            topic_lists,
            connections_room,
            guard,
            figures,
        }
    }

    /// Lets these rules decide about what administers. `cluster`: its name in policies.
    pub fn guard(&mut self, engine: SharedEngine, cluster: &str) {
        self.guard = Guard::new(engine, cluster);
    }

    /// The refusal of a request, if its sender may not ask for it.
    pub fn refusal(&self, request: &Request<'_>, source: IpAddr) -> Option<Response> {
        let registration = self.config.acl_registration_enable;
        self.guard.refuse(request.header, request.body, source, registration)
    }

    /// What was counted.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// The same, to count.
    pub(crate) fn figures_mut(&mut self) -> &mut Figures {
        &mut self.figures
    }

    /// Whatever `connectionsMax` says, no more connections than this are taken.
    pub fn limit_connections(&mut self, connections_max: usize) {
        self.connections_room = connections_max;
    }

    /// Connections that may be open at once.
    pub fn connections_max(&self) -> usize {
        self.config.connections_max.min(self.connections_room)
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The routes.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// The routes, for events that are not requests: a closed connection, time.
    pub fn routes_mut(&mut self) -> &mut Routes {
        &mut self.routes
    }

    /// Counts the changes of one file's content; equal numbers mean equal content.
    pub fn generation(&self, what: Save) -> u64 {
        match what {
            Save::Kv => self.kv.generation(),
            Save::Config => self.config_generation,
        }
    }

    /// Place and content of one file.
    pub fn file(&self, what: Save) -> (PathBuf, Vec<u8>) {
        match what {
            Save::Kv => (self.config.kv_config_path.clone(), self.kv.to_file()),
            Save::Config => {
                (self.config.config_store_path.clone(), self.config.to_properties().into_bytes())
            }
        }
    }
}

/// Answers one request. One-way requests are answered, too; the caller then throws the answer away.
pub fn handle(state: &mut Namesrv, request: &Request<'_>, now: Uptime) -> Response {
    let answered = match request.header.code {
        ask::REGISTER_BROKER => register_broker(state, request, now),
        ask::UNREGISTER_BROKER => unregister_broker(state, request),
        ask::QUERY_DATA_VERSION => query_data_version(state, request, now),
        ask::BROKER_HEARTBEAT => broker_heartbeat(state, request, now),
        ask::REGISTER_TOPIC_IN_NAMESRV => register_topic(state, request),
        ask::GET_ROUTEINFO_BY_TOPIC => route_by_topic(state, request),
        ask::GET_BROKER_CLUSTER_INFO => {
            Ok(Response::with_body(|out| state.routes.cluster_info().write(out)))
        }
        ask::GET_BROKER_MEMBER_GROUP => member_group(state, request),
        ask::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => Ok(all_topics(state)),
        ask::GET_TOPICS_BY_CLUSTER => topics_by_cluster(state, request),
        ask::GET_SYSTEM_TOPIC_LIST_FROM_NS => {
            let (topics, broker_addr) = state.routes.system_topics();
            Ok(topic_list(topics, broker_addr))
        }
        ask::GET_UNIT_TOPIC_LIST => Ok(unit_topics(state, UnitFilter::Unit)),
        ask::GET_HAS_UNIT_SUB_TOPIC_LIST => Ok(unit_topics(state, UnitFilter::UnitSub)),
        ask::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => {
            Ok(unit_topics(state, UnitFilter::UnitSubNotUnit))
        }
        ask::DELETE_TOPIC_IN_NAMESRV => delete_topic(state, request),
        ask::WIPE_WRITE_PERM_OF_BROKER => wipe_write_perm(state, request),
        ask::ADD_WRITE_PERM_OF_BROKER => add_write_perm(state, request),
        ask::PUT_KV_CONFIG => put_kv(state, request),
        ask::GET_KV_CONFIG => get_kv(state, request),
        ask::DELETE_KV_CONFIG => delete_kv(state, request),
        ask::GET_KVLIST_BY_NAMESPACE => kv_list(state, request),
        ask::UPDATE_NAMESRV_CONFIG => update_config(state, request),
        ask::GET_NAMESRV_CONFIG => {
            Ok(Response::with_body(|out| out.extend(state.config.to_properties().bytes())))
        }
        code => Ok(Response::refuse(
            response::REQUEST_CODE_NOT_SUPPORTED,
            format!(" request type {code} not supported by a name server"),
        )),
    };
    let response = answered.unwrap_or_else(Response::from);
    state.figures.answered(request.header.code, response.code);
    response
}

type Handled = Result<Response, FieldError>;

fn register_broker(state: &mut Namesrv, request: &Request<'_>, now: Uptime) -> Handled {
    let header = fields::RegisterBrokerHeader::from_ext(&request.header.ext)?;
    let (declared, actual) = (header.body_crc32, body_crc(request.body));
    // 0 means that the sender did not compute one.
    if declared != 0 && i64::from(declared) != i64::from(actual) {
        let remark = format!("crc32 not match: the header says {declared}, the body has {actual}");
        return Ok(Response::refuse(response::SYSTEM_ERROR, remark));
    }
    let table = match registered_topics(request, header.compressed) {
        Ok(table) => table,
        Err(error) => {
            return Ok(Response::refuse(
                response::SYSTEM_ERROR,
                format!("body of the registration: {error}"),
            ));
        }
    };
    let registration = Registration {
        cluster: header.cluster_name,
        broker_name: header.broker_name,
        broker_addr: header.broker_addr,
        broker_id: header.broker_id,
        ha_server_addr: header.ha_server_addr,
        data_version: table.data_version,
        topics: &table.topic_config_table,
        expiry_ms: header.heartbeat_timeout_millis,
    };
    let registered = match state.routes.register(&registration, request.connection, now) {
        Ok(registered) => registered,
        Err(error) => return Ok(Response::refuse(response::SYSTEM_ERROR, error.to_string())),
    };
    log_change(&registration, &registered.change);
    let mut answer = Response::success();
    if state.config.return_order_topic_config_to_broker
        && let Some(orders) = state.kv.namespace(ORDER_TOPIC_NAMESPACE)
    {
        answer = Response::with_body(|out| KvTable { table: orders.clone() }.write(out));
    }
    if let Some(addr) = registered.ha_server_addr {
        answer = answer.with_ext("haServerAddr", Value::Text(addr));
    }
    if let Some(addr) = registered.master_addr {
        answer = answer.with_ext("masterAddr", Value::Text(addr));
    }
    Ok(answer)
}

/// The topics of a registration, whatever its age and form. No body means no topics, as in Java.
fn registered_topics(
    request: &Request<'_>,
    compressed: bool,
) -> Result<TopicConfigTable, BodyError> {
    if request.body.is_empty() {
        Ok(TopicConfigTable::default())
    } else if request.header.version >= REGISTER_BODY_VERSION_MIN {
        Ok(RegisterBrokerBody::read(request.body, compressed)?.topic_config)
    } else {
        TopicConfigTable::read(request.body)
    }
}

fn log_change(broker: &Registration<'_>, change: &Change) {
    let (name, addr, id) = (broker.broker_name, broker.broker_addr, broker.broker_id);
    let topics = broker.topics.len();
    match change {
        Change::Refreshed => tracing::debug!(name, addr, id, topics, "broker refreshed"),
        Change::Joined => {
            tracing::info!(cluster = broker.cluster, name, addr, id, topics, "broker registered")
        }
        Change::TookOver { previous } => {
            tracing::warn!(
                name,
                addr,
                id,
                previous,
                "another address took over this broker name and id"
            );
        }
    }
}

fn unregister_broker(state: &mut Namesrv, request: &Request<'_>) -> Handled {
    let header = fields::BrokerIdentityHeader::from_ext(&request.header.ext)?;
    state.routes.unregister(header.broker_name, header.broker_addr);
    tracing::info!(
        name = header.broker_name,
        addr = header.broker_addr,
        id = header.broker_id,
        "broker unregistered"
    );
    Ok(Response::success())
}

fn query_data_version(state: &mut Namesrv, request: &Request<'_>, now: Uptime) -> Handled {
    let header = fields::BrokerIdentityHeader::from_ext(&request.header.ext)?;
    let asked = match DataVersion::read(request.body) {
        Ok(version) => version,
        Err(error) => {
            return Ok(Response::refuse(response::SYSTEM_ERROR, format!("data version: {error}")));
        }
    };
    let known = state.routes.query_version(header.broker_name, header.broker_addr, asked, now);
    let answer = Response::with_body(|out| {
        if let Some(version) = known.known {
            version.write(out);
        }
    });
    Ok(answer.with_ext("changed", Value::Bool(known.changed)))
}

fn broker_heartbeat(state: &mut Namesrv, request: &Request<'_>, now: Uptime) -> Handled {
    let header = fields::BrokerHeartbeatHeader::from_ext(&request.header.ext)?;
    // An unknown broker registers by itself within its period; Java answers success, too.
    state.routes.heartbeat(header.broker_addr, now);
    Ok(Response::success())
}

fn register_topic(state: &mut Namesrv, request: &Request<'_>) -> Handled {
    // The one header of this request has one field, and so has no type of its own.
    let topic = request.header.ext.get("topic").unwrap_or_default();
    let route = match RouteData::read(request.body) {
        Ok(route) => route,
        Err(error) => {
            return Ok(Response::refuse(response::SYSTEM_ERROR, format!("route data: {error}")));
        }
    };
    Ok(match state.routes.register_topic(topic, &route.queue_datas) {
        Ok(_) => Response::success(),
        Err(error) => Response::refuse(response::SYSTEM_ERROR, error.to_string()),
    })
}

fn route_by_topic(state: &mut Namesrv, request: &Request<'_>) -> Handled {
    let header = fields::RouteInfoHeader::from_ext(&request.header.ext)?;
    let Some(mut route) = state.routes.route(header.topic) else {
        let remark =
            format!("no route for topic {}: no live broker has registered it here", header.topic);
        return Ok(Response::refuse(response::TOPIC_NOT_EXIST, remark));
    };
    if state.config.order_message_enable {
        route.order_topic_conf =
            state.kv.get(ORDER_TOPIC_NAMESPACE, header.topic).map(str::to_owned);
    }
    let standard =
        request.header.version >= STANDARD_JSON_VERSION_MIN || header.accept_standard_json_only;
    Ok(Response::with_body(|out| {
        if standard { route.write_standard(out) } else { route.write_default(out) }
    }))
}

/// 901. Source of the shape: 5.3.3 `GetBrokerMemberGroupResponseBody`; an unknown name is an empty group.
fn member_group(state: &mut Namesrv, request: &Request<'_>) -> Handled {
    let field = |name| request.header.ext.get(name).unwrap_or_default();
    let (cluster, broker_name) = (field("clusterName"), field("brokerName"));
    let group = state.routes.broker_data(broker_name);
    let addrs = group.as_ref().map(|group| &group.broker_addrs);
    let text = |text: &str| serde_json::to_string(text).expect("text is always representable");
    let members: Vec<String> =
        addrs.into_iter().flatten().map(|(id, addr)| format!("{id}:{}", text(addr))).collect();
    let body = format!(
        r#"{{"brokerMemberGroup":{{"brokerAddrs":{{{}}},"brokerName":{},"cluster":{}}}}}"#,
        members.join(","),
        text(broker_name),
        text(cluster)
    );
    Ok(Response::with_body(|out| out.extend(body.bytes())))
}

fn topic_list(topics: Vec<String>, broker_addr: Option<String>) -> Response {
    Response::with_body(|out| TopicList { topic_list: topics, broker_addr }.write(out))
}

/// A list of topics out of the routes, encoded once for all who ask before something changes.
fn listed(
    state: &mut Namesrv,
    list: List,
    topics: impl FnOnce(&Routes) -> Vec<String>,
) -> Response {
    let Namesrv { routes, topic_lists, .. } = state;
    let body = topic_lists.body(list, routes.generation(), |out| {
        TopicList { topic_list: topics(routes), broker_addr: None }.write(out);
    });
    Response { body: Body::Shared(body), ..Response::success() }
}

fn all_topics(state: &mut Namesrv) -> Response {
    if !state.config.enable_all_topic_list {
        return Response::refuse(
            response::SYSTEM_ERROR,
            "the list of all topics is switched off (enableAllTopicList=false)",
        );
    }
    listed(state, List::All, Routes::topics)
}

fn topics_by_cluster(state: &mut Namesrv, request: &Request<'_>) -> Handled {
    let header = fields::TopicsByClusterHeader::from_ext(&request.header.ext)?;
    // Names come from anybody: only what exists is remembered.
    if !state.routes.has_cluster(header.cluster) {
        return Ok(topic_list(Vec::new(), None));
    }
    let list = List::OfCluster(header.cluster.to_owned());
    Ok(listed(state, list, |routes| routes.topics_of_cluster(header.cluster)))
}

fn unit_topics(state: &mut Namesrv, filter: UnitFilter) -> Response {
    listed(state, List::ByUnit(filter), |routes| routes.topics_by_unit(filter))
}

fn delete_topic(state: &mut Namesrv, request: &Request<'_>) -> Handled {
    let header = fields::DeleteTopicInNamesrvHeader::from_ext(&request.header.ext)?;
    let cluster = header.cluster_name.filter(|name| !name.is_empty());
    state.routes.delete_topic(header.topic, cluster);
    tracing::info!(topic = header.topic, cluster, "topic deleted from the routes");
    Ok(Response::success())
}

fn wipe_write_perm(state: &mut Namesrv, request: &Request<'_>) -> Handled {
    let header = fields::WritePermHeader::from_ext(&request.header.ext)?;
    let touched = state.routes.wipe_write_perm(header.broker_name);
    tracing::info!(name = header.broker_name, topics = touched, "write permission wiped");
    Ok(Response::success().with_ext("wipeTopicCount", count(touched)))
}

fn add_write_perm(state: &mut Namesrv, request: &Request<'_>) -> Handled {
    let header = fields::WritePermHeader::from_ext(&request.header.ext)?;
    let touched = state.routes.add_write_perm(header.broker_name);
    tracing::info!(name = header.broker_name, topics = touched, "write permission added");
    Ok(Response::success().with_ext("addTopicCount", count(touched)))
}

fn put_kv(state: &mut Namesrv, request: &Request<'_>) -> Handled {
    let header = fields::PutKvHeader::from_ext(&request.header.ext)?;
    Ok(match state.kv.put(header.namespace, header.key, header.value) {
        Ok(()) => Response::success().saving(Save::Kv),
        Err(error) => Response::refuse(response::SYSTEM_ERROR, error.to_string()),
    })
}

fn get_kv(state: &mut Namesrv, request: &Request<'_>) -> Handled {
    let header = fields::KvKeyHeader::from_ext(&request.header.ext)?;
    Ok(match state.kv.get(header.namespace, header.key) {
        Some(value) => Response::success().with_ext("value", Value::Text(value.to_owned())),
        None => {
            let remark =
                format!("no value for key {} in namespace {}", header.key, header.namespace);
            Response::refuse(response::QUERY_NOT_FOUND, remark)
        }
    })
}

fn delete_kv(state: &mut Namesrv, request: &Request<'_>) -> Handled {
    let header = fields::KvKeyHeader::from_ext(&request.header.ext)?;
    state.kv.remove(header.namespace, header.key);
    Ok(Response::success().saving(Save::Kv))
}

fn kv_list(state: &mut Namesrv, request: &Request<'_>) -> Handled {
    let header = fields::KvNamespaceHeader::from_ext(&request.header.ext)?;
    Ok(match state.kv.namespace(header.namespace) {
        Some(table) => Response::with_body(|out| KvTable { table: table.clone() }.write(out)),
        None => Response::refuse(
            response::QUERY_NOT_FOUND,
            format!("no values in namespace {}", header.namespace),
        ),
    })
}

/// Code 318. All or nothing: one bad value and nothing changes, so that an operator is never left with half a change. Keys that are
/// not live may be given as they are: tools and scripts send whole files back.
fn update_config(state: &mut Namesrv, request: &Request<'_>) -> Handled {
    let entries = match entries_of(request.body) {
        Ok(entries) => entries,
        Err(reasons) => return Ok(nothing_changed(&reasons)),
    };
    let listed = entries.iter().filter(|entry| state.config.is_blacklisted(&entry.key));
    let listed: Vec<&str> = listed.map(|entry| entry.key.as_str()).collect();
    if !listed.is_empty() {
        // Java's words.
        let remark = format!(
            "Can not update config in black list. Nothing was changed: {}",
            listed.join(", ")
        );
        return Ok(Response::refuse(response::NO_PERMISSION, told(&remark)));
    }
    let (changed, differences) = match state.config.changed_by(&entries) {
        Ok(changed) => changed,
        Err(reasons) => return Ok(nothing_changed(&reasons)),
    };
    if differences.is_empty() {
        return Ok(Response::success());
    }
    let who = request.addr;
    for (key, from, to) in &differences {
        tracing::info!(key, from, to, %who, "configuration changed");
    }
    state.config = changed;
    state.config_generation += 1;
    Ok(Response::success().saving(Save::Config))
}

fn nothing_changed(reasons: &[String]) -> Response {
    Response::refuse(
        response::SYSTEM_ERROR,
        format!("nothing was changed: {}", reasons_text(reasons)),
    )
}

fn count(topics: usize) -> Value {
    Value::Number(i64::try_from(topics).unwrap_or(i64::MAX))
}

/// A duration as the difference of two times.
pub(crate) fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
