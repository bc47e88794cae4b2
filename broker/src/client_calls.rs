//! Requests of ours to clients that wait for their response: by opaque and deadline. [`crate::calls`] sends them,
//! frames of connections and the tick end them.

use crate::{error::Refusal, one_shot::OneShot};
use proto::{
    code::response,
    command::{ExtValue, Header, Language, OUR_VERSION, RequestHead, write_request},
    frame::HeaderKind,
};
use remoting::{Calls, ConnectionId, WriteBuffer};
use runtime::Uptime;

/// Requests to clients of one worker that may wait for their response; more are refused.
const CLIENT_CALLS_MAX: usize = 4_096;

/// Opaques of calls are negative. Those of one-way notifications are not: a client that answers one, as some do, must
/// not end a call.
const CALL_OPAQUES: i32 = i32::MIN;

/// A request of ours to a client.
#[derive(Clone, Debug, Default)]
pub struct ClientRequest {
    /// Request code.
    pub code: i32,
    /// Fields of the header.
    pub ext: Vec<(&'static str, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl ClientRequest {
    /// Writes its frame.
    pub fn write(&self, opaque: i32, out: &mut Vec<u8>) {
        let ext: Vec<(&str, ExtValue<'_>)> =
            self.ext.iter().map(|(name, value)| (*name, value.as_str().into())).collect();
        write_to_client(self.code, opaque, false, &ext, &self.body, out);
    }
}

/// Writes the frame of a request to a client.
pub fn write_to_client(
    code: i32,
    opaque: i32,
    oneway: bool,
    ext: &[(&str, ExtValue<'_>)],
    body: &[u8],
    out: &mut Vec<u8>,
) {
    let head = RequestHead {
        code,
        language: Language::Java,
        version: OUR_VERSION,
        opaque,
        oneway,
        remark: None,
        ext,
    };
    write_request(out, HeaderKind::Json, &head, body);
}

/// What a client answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientResponse {
    /// Response code.
    pub code: i32,
    /// Its remark.
    pub remark: Option<String>,
    /// Fields of the header.
    pub ext: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// Why a client did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Its connection has ended.
    #[error("the client's connection has ended")]
    ConnectionClosed,
    /// Its connection is above its high-water mark.
    #[error("[OVERLOAD] reason=connection-clogged: what was sent to the client is not read")]
    Clogged,
    /// The broker stops: no response is read any more.
    #[error("the broker is stopping")]
    Stopping,
    /// It did not answer in time.
    #[error("the client did not answer in time")]
    TimedOut,
    /// Too many requests to clients wait already.
    #[error("[OVERLOAD] reason=client-calls open={CLIENT_CALLS_MAX} limit={CLIENT_CALLS_MAX}")]
    Full,
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Refusal {
        let code = match error {
            CallError::Full | CallError::Clogged => response::SYSTEM_BUSY,
            CallError::Stopping => response::SERVICE_NOT_AVAILABLE,
            CallError::ConnectionClosed | CallError::TimedOut => response::SYSTEM_ERROR,
        };
        Refusal::new(code, error.to_string())
    }
}

/// A call that was begun.
pub struct Called {
    /// What its request has to carry.
    pub opaque: i32,
    /// What comes of it.
    pub response: OneShot<Result<ClientResponse, CallError>>,
}

/// The calls of one worker to its clients.
pub struct ClientCalls {
    calls: Calls<ConnectionId, OneShot<Result<ClientResponse, CallError>>>,
    /// Responses that nobody waited for: to one-way notifications, which some clients answer, or too late.
    unmatched: u64,
    stopped: bool,
}

impl Default for ClientCalls {
    fn default() -> ClientCalls {
        ClientCalls { calls: Calls::new(CLIENT_CALLS_MAX), unmatched: 0, stopped: false }
    }
}

impl ClientCalls {
    /// Sends a request to a client, unless its connection is gone (`None`) or does not read what it has been sent
    /// already.
    pub fn send(
        &mut self,
        connection: ConnectionId,
        write_buffer: Option<&WriteBuffer>,
        request: &ClientRequest,
        deadline: Uptime,
    ) -> Result<Called, CallError> {
        let write_buffer = write_buffer.ok_or(CallError::ConnectionClosed)?;
        if write_buffer.above_high_watermark() {
            return Err(CallError::Clogged);
        }
        let called = self.begin(connection, deadline)?;
        write_buffer.write(|out| request.write(called.opaque, out));
        Ok(called)
    }

    /// Begins a call, which ends with the client's response, at `deadline` (ms), with the connection, or when the
    /// broker stops.
    fn begin(&mut self, connection: ConnectionId, deadline: Uptime) -> Result<Called, CallError> {
        if self.stopped {
            return Err(CallError::Stopping);
        }
        let response = OneShot::default();
        let number = self
            .calls
            .insert(connection, deadline, response.clone())
            .map_err(|_| CallError::Full)?;
        Ok(Called { opaque: number ^ CALL_OPAQUES, response })
    }

    /// A client has sent a response.
    pub fn on_response(&mut self, connection: ConnectionId, header: &Header<'_>, body: &[u8]) {
        let Some(waiting) = self.calls.complete(connection, header.opaque ^ CALL_OPAQUES) else {
            self.unmatched += 1;
            return;
        };
        let ext = header.ext.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        waiting.set(Ok(ClientResponse {
            code: header.code,
            remark: header.remark.map(str::to_owned),
            ext: ext.collect(),
            body: body.to_vec(),
        }));
    }

    /// A connection has ended, and with it what it was asked.
    pub fn connection_closed(&mut self, connection: ConnectionId) {
        for waiting in self.calls.drop_connection(connection) {
            waiting.set(Err(CallError::ConnectionClosed));
        }
    }

    /// Ends what was not answered in time.
    pub fn expire(&mut self, now: Uptime) {
        for waiting in self.calls.expire(now) {
            waiting.set(Err(CallError::TimedOut));
        }
    }

    /// The broker stops and reads no more responses: ends all calls, and refuses more. Who waits for them would hold up
    /// the end.
    pub fn stop(&mut self) {
        self.stopped = true;
        for waiting in self.calls.expire(Uptime::MAX) {
            waiting.set(Err(CallError::Stopping));
        }
    }

    /// Responses that nobody waited for, since start.
    pub fn unmatched(&self) -> u64 {
        self.unmatched
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::fixtures::write_buffer;
    use proto::{
        command::{HeaderArena, ResponseHead, decode, write_response},
        frame::next_frame,
    };
    use runtime::sim::block_on;

    fn at(ms: i64) -> Uptime {
        Uptime::from_ms(ms)
    }

    fn answer(calls: &mut ClientCalls, connection: ConnectionId, opaque: i32) {
        let head =
            ResponseHead { code: 0, opaque, remark: Some("done"), ext: &[("a", "b".into())] };
        let mut bytes = Vec::new();
        write_response(&mut bytes, HeaderKind::Json, &head, b"body");
        let frame = next_frame(&bytes).expect("ours").expect("whole");
        let mut arena = HeaderArena::default();
        let header = decode(frame.kind, frame.header, &mut arena).expect("ours");
        calls.on_response(connection, &header, frame.body);
    }

    #[test]
    fn a_call_ends_with_its_response_its_deadline_or_its_connection() {
        let mut calls = ClientCalls::default();
        let [one, two] = [1, 2].map(|slot| ConnectionId::new(0, 0, slot));
        let answered = calls.begin(one, at(100)).expect("room");
        let late = calls.begin(one, at(100)).expect("room");
        let lost = calls.begin(two, at(500)).expect("room");
        answer(&mut calls, two, answered.opaque);
        assert_eq!(calls.unmatched(), 1, "another connection cannot answer");
        answer(&mut calls, one, answered.opaque);
        let response = block_on(answered.response.wait()).expect("set").expect("answered");
        assert_eq!((response.code, &*response.body), (0, &b"body"[..]));
        assert_eq!(response.ext, [("a".to_owned(), "b".to_owned())]);
        calls.expire(at(99));
        calls.connection_closed(two);
        assert_eq!(block_on(lost.response.wait()), Some(Err(CallError::ConnectionClosed)));
        assert!(block_on(late.response.wait()).is_none());
        calls.expire(at(100));
        assert_eq!(block_on(late.response.wait()), Some(Err(CallError::TimedOut)));
        answer(&mut calls, one, late.opaque);
        assert_eq!(calls.unmatched(), 2, "too late");
    }

    #[test]
    fn a_full_table_is_busy() {
        let mut calls = ClientCalls::default();
        let connection = ConnectionId::new(0, 0, 1);
        for _ in 0..CLIENT_CALLS_MAX {
            calls.begin(connection, at(10)).expect("room");
        }
        let refusal = Refusal::from(calls.begin(connection, at(10)).err().expect("full"));
        assert_eq!(refusal.code, response::SYSTEM_BUSY);
        assert_eq!(refusal.remark, "[OVERLOAD] reason=client-calls open=4096 limit=4096");
        calls.expire(at(10));
        assert!(calls.begin(connection, at(20)).is_ok());
    }

    #[test]
    fn a_stop_ends_the_calls_that_are_open_and_begins_no_more() {
        let mut calls = ClientCalls::default();
        let connection = ConnectionId::new(0, 0, 1);
        let open = calls.begin(connection, Uptime::MAX).expect("room");
        calls.stop();
        assert_eq!(block_on(open.response.wait()), Some(Err(CallError::Stopping)));
        assert_eq!(calls.begin(connection, at(10)).err(), Some(CallError::Stopping));
        assert_eq!(Refusal::from(CallError::Stopping).code, response::SERVICE_NOT_AVAILABLE);
    }

    #[test]
    fn a_client_that_does_not_read_is_not_called() {
        let mut calls = ClientCalls::default();
        let connection = ConnectionId::new(0, 0, 1);
        let write_buffer = write_buffer();
        let mut send = |write_buffer: Option<&WriteBuffer>| {
            calls.send(connection, write_buffer, &ClientRequest::default(), at(10)).err()
        };
        assert_eq!(send(None), Some(CallError::ConnectionClosed));
        assert_eq!(send(Some(&write_buffer)), None);
        assert!(write_buffer.unsent_bytes() > 0, "the request is on its way");
        write_buffer.write(|out| out.resize(64 << 20, 0));
        let unsent = write_buffer.unsent_bytes();
        assert_eq!(send(Some(&write_buffer)), Some(CallError::Clogged));
        assert_eq!(write_buffer.unsent_bytes(), unsent, "nothing is added");
        assert_eq!(Refusal::from(CallError::Clogged).code, response::SYSTEM_BUSY);
    }
}
