//! Requests of a script's own whose Call-ID belongs to another shard.
//!
//! A script may choose the Call-ID (`$uac_req(callid)`, a line of `t_uac_send`). Answers come to
//! the shard that owns it, so that shard sends the request, and its `event_route[uac:reply]` hears
//! of the answer.

use std::rc::Rc;

use crate::effect::peer::OwnRequest;
use crate::effect::{Effect, Level, PeerMessage};
use crate::modules::digest::Credential;
use crate::modules::state::Env;
use crate::modules::tm::local::{self, LocalRequest, Owner};
use crate::modules::work::Bytes;
use crate::steer;

use super::request::{Request, Sent};

/// Hands the request on when another shard owns its Call-ID, else gives it back.
pub(super) fn handed_on(env: &mut Env<'_>, request: LocalRequest) -> Option<LocalRequest> {
    let owner = steer::owner(&request.call_id, env.state.setup.shard_count);
    if owner == env.state.id {
        return Some(request);
    }
    let message = PeerMessage::Request(Box::new(packed(&request)));
    env.out.push(Effect::Peer(owner, message));
    None
}

/// A request that another shard has handed on.
pub fn heard(env: &mut Env<'_>, request: OwnRequest) {
    let request = unpacked(env, request);
    if !local::send(env.state, request) {
        let text = "a request of a script's own is lost: too many wait to be sent";
        env.log(Level::Err, text);
    }
}

fn packed(request: &LocalRequest) -> OwnRequest {
    let bytes = |text: &Bytes| Box::from(&**text);
    let event = match &request.owner {
        Owner::Uac(sent) => Some(sent.packed()),
        Owner::Nobody | Owner::Dispatcher(_) | Owner::Dialog(_) | Owner::Transfer(_) => None,
    };
    OwnRequest {
        method: bytes(&request.method),
        uri: bytes(&request.uri),
        next_hop: request.next_hop.as_ref().map(bytes),
        socket: request.socket,
        from: bytes(&request.from),
        to: bytes(&request.to),
        call_id: bytes(&request.call_id),
        cseq: request.cseq,
        headers: bytes(&request.headers),
        body: bytes(&request.body),
        credential: request.credential.as_ref().map(|c| {
            let Credential {
                user,
                realm,
                password,
                ..
            } = &**c;
            [user.clone(), realm.clone(), password.clone()]
        }),
        event,
    }
}

fn unpacked(env: &mut Env<'_>, own: OwnRequest) -> LocalRequest {
    let mut request = LocalRequest::new(env.state, &own.method, &own.uri, &own.uri, &own.uri);
    request.next_hop = own.next_hop.map(Bytes::from);
    request.socket = own.socket;
    request.from = own.from.into();
    request.to = own.to.into();
    request.call_id = own.call_id.into();
    request.cseq = own.cseq;
    request.headers = own.headers.into();
    request.body = own.body.into();
    request.credential = own.credential.map(|[user, realm, password]| {
        Rc::new(Credential {
            user,
            realm,
            password,
            is_hash: false,
        })
    });
    if let Some(event) = own.event {
        let request_of_script = Request::unpacked(event);
        request.owner = Owner::Uac(Rc::new(Sent::new(request_of_script)));
    }
    request
}
