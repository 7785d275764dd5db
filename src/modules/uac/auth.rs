//! `uac_auth`: answering the challenge that a branch of a relayed request met (RFC 3261 §22.2).
//!
//! The next leg of the failure route carries the credentials. Its CSeq stays that of the caller,
//! unless a dialog keeps the numbers of both sides apart (`track_cseq_updates`).

use std::rc::Rc;

use crate::effect::Level;
use crate::modules::Call;
use crate::modules::dialog;
use crate::modules::digest::{self, About, Challenge, Credential};
use crate::modules::entry::{NO, YES};
use crate::modules::pv::avp::Stored;
use crate::script::{CallSite, Heap, Outcome};

/// `uac_auth([mode])`: mode 1 says that passwords are given as hashes.
pub(super) fn uac_auth(call: &mut Call<'_>, heap: &mut Heap, site: &CallSite) -> Outcome {
    let is_hash = site.int(0, call, heap) == Some(1);
    match credentials_line(call, is_hash) {
        Ok(line) => {
            let at = call.work.message.headers_end();
            call.work.edits.insert(at, &line);
            dialog::request::retried(&mut call.env, call.work);
            YES
        }
        Err(what) => {
            call.env.log(Level::Err, format!("uac_auth: {what}"));
            NO
        }
    }
}

fn credentials_line(call: &mut Call<'_>, is_hash: bool) -> Result<Vec<u8>, &'static str> {
    let draw = call.env.state.rng.next_u64();
    let t = call
        .work
        .transaction
        .and_then(|key| call.env.state.tm.get(key));
    let branch = t
        .zip(call.work.branch)
        .and_then(|(t, b)| t.branches.get(usize::from(b)));
    let response = branch.and_then(|b| b.response.as_ref());
    let response = response.ok_or("the branch has failed without a response")?;
    let response = Rc::clone(&response.message);
    if !matches!(response.status(), 401 | 407) {
        return Err("the response is neither 401 nor 407");
    }
    let mut has_challenge = false;
    for challenge in digest::challenges(&response) {
        has_challenge = true;
        let Some(credential) = credential_for(call, &challenge, is_hash) else {
            continue;
        };
        let about = About {
            method: call.work.message.method_name(),
            uri: call.work.uri(),
            body: call.work.message.body(),
        };
        if let Some(line) = digest::answer(&challenge, &credential, about, draw) {
            return Ok(line);
        }
    }
    Err(if has_challenge {
        "no credential fits a challenge"
    } else {
        "there is no challenge that can be answered"
    })
}

/// The avps of the script before the parameters of the configuration.
fn credential_for(call: &Call<'_>, challenge: &Challenge<'_>, is_hash: bool) -> Option<Credential> {
    let config = &call.env.state.setup.config.uac;
    let avp = |name: &Option<Box<str>>| match call.work.avps.all(name.as_ref()?.as_bytes()).next() {
        Some(Stored::Text(text)) => Some(text.clone()),
        Some(Stored::Int(_)) | None => None,
    };
    let (user, password) = (avp(&config.user_avp), avp(&config.password_avp));
    let from_avps = user.zip(password).map(|(user, password)| Credential {
        user,
        realm: avp(&config.realm_avp).unwrap_or_default(),
        password,
        is_hash,
    });
    let fits = |c: &Credential| c.fits(&challenge.realm);
    from_avps.filter(fits).or_else(|| {
        let found = config.credentials.iter().find(|c| fits(c));
        found.map(|c| Credential {
            is_hash,
            ..c.clone()
        })
    })
}
