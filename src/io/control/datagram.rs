//! Operators on datagrams: unix sockets and UDP. One datagram asks, one answers.
//!
//! An answer that no datagram can carry is replaced by a fault that says so: the original sends
//! pieces that nobody can put together.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::unix::SocketAddr as UnixAddr;
use tokio::net::{UdpSocket, UnixDatagram};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use super::clerk::{Asking, Clerk};
use super::sheet::{Form, Reply};
use crate::effect::Level;
use crate::effect::rpc::Fault;
use crate::io::plan::Language;
use crate::limits::{RPC_COMMAND_COUNT_MAX, RPC_REQUEST_SIZE_MAX};
use crate::modules::rpc::binrpc::{self, Kind};
use crate::modules::rpc::json::{self, Style};

/// Bytes of a UDP datagram: what an IPv4 packet leaves.
const UDP_SIZE_MAX: usize = 65_507;

/// How long to wait before a client that does not read is offered its answer again.
const OFFER_PAUSE: Duration = Duration::from_millis(20);

/// Serves a unix socket until the thread ends.
pub(super) fn serve_unix(
    clerk: Rc<Clerk>,
    socket: std::os::unix::net::UnixDatagram,
    language: Language,
) {
    match UnixDatagram::from_std(socket) {
        Ok(socket) => drop(tokio::task::spawn_local(serve(clerk, socket, language))),
        Err(error) => clerk.log(Level::Err, || format!("operators are not served: {error}")),
    }
}

/// Serves UDP until the thread ends.
pub(super) fn serve_udp(clerk: Rc<Clerk>, socket: std::net::UdpSocket, language: Language) {
    match UdpSocket::from_std(socket) {
        Ok(socket) => drop(tokio::task::spawn_local(serve(clerk, socket, language))),
        Err(error) => clerk.log(Level::Err, || format!("operators are not served: {error}")),
    }
}

/// A socket for datagrams.
trait Datagrams {
    type From;
    /// The most that one datagram carries; `None`: the socket says so itself.
    const SIZE_MAX: Option<usize>;
    async fn receive(&self, bytes: &mut [u8]) -> io::Result<(usize, Self::From)>;
    /// Offers it to a client that does not read for at most `limit`.
    async fn send(&self, bytes: &[u8], to: &Self::From, limit: Duration) -> io::Result<()>;
}

impl Datagrams for UdpSocket {
    type From = std::net::SocketAddr;
    const SIZE_MAX: Option<usize> = Some(UDP_SIZE_MAX);

    async fn receive(&self, bytes: &mut [u8]) -> io::Result<(usize, Self::From)> {
        self.recv_from(bytes).await
    }

    async fn send(&self, bytes: &[u8], to: &Self::From, _: Duration) -> io::Result<()> {
        self.send_to(bytes, to).await.map(drop)
    }
}

impl Datagrams for UnixDatagram {
    type From = UnixAddr;
    const SIZE_MAX: Option<usize> = None;

    async fn receive(&self, bytes: &mut [u8]) -> io::Result<(usize, Self::From)> {
        self.recv_from(bytes).await
    }

    async fn send(&self, bytes: &[u8], to: &Self::From, limit: Duration) -> io::Result<()> {
        let Some(path) = to.as_pathname() else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        let end = Instant::now() + limit;
        loop {
            match self.try_send_to(bytes, path) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < end => {
                    sleep(OFFER_PAUSE).await;
                }
                sent => return sent.map(drop),
            }
        }
    }
}

async fn serve<D: Datagrams + 'static>(clerk: Rc<Clerk>, socket: D, language: Language) {
    let socket = Rc::new(socket);
    let turns = Arc::new(Semaphore::new(RPC_COMMAND_COUNT_MAX));
    let mut bytes = vec![0; RPC_REQUEST_SIZE_MAX];
    loop {
        // The semaphore is never closed.
        let turn = turns.clone().acquire_owned().await;
        match socket.receive(&mut bytes).await {
            Ok((size, from)) => {
                let Some(asking) = asking(&bytes[..size], language) else {
                    continue;
                };
                let (clerk, socket) = (clerk.clone(), socket.clone());
                tokio::task::spawn_local(async move {
                    let answered = answer(&clerk, &*socket, asking, (&from, turn)).await;
                    if let Err(error) = answered {
                        clerk.log(Level::Dbg, || format!("an operator is not told: {error}"));
                    }
                });
            }
            // An earlier answer found nobody.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => {
                clerk.log(Level::Err, || {
                    format!("operators are not heard any more: {error}")
                });
                return;
            }
        }
    }
}

/// What a datagram asks, or the fault it is answered with; `None`: no answer.
fn asking(bytes: &[u8], language: Language) -> Option<Result<Asking, Reply>> {
    match language {
        Language::Json { is_pretty } => {
            let request = json::request(bytes)?;
            let form = Form::Json {
                style: Style { is_pretty },
                id: request.id,
            };
            Some(Ok(Asking {
                method: request.method,
                is_callable: request.is_callable,
                args: request.args,
                form,
            }))
        }
        Language::Binary { converts } => {
            let corrupt = |cookie| Some(Err(Form::Binary { cookie }.fault(&binrpc::corrupt())));
            let Ok(Some(head)) = binrpc::head(bytes) else {
                return corrupt(0);
            };
            let form = Form::Binary {
                cookie: head.cookie,
            };
            let body = bytes.get(head.size..head.size + head.body_size);
            let (Kind::Request, Some(body)) = (head.kind, body) else {
                return corrupt(head.cookie);
            };
            Some(match binrpc::request(body, converts) {
                Ok((method, args)) => Ok(Asking {
                    method: Some(method),
                    is_callable: true,
                    args,
                    form,
                }),
                Err(fault) => Err(form.fault(&fault)),
            })
        }
    }
}

async fn answer<D: Datagrams>(
    clerk: &Clerk,
    socket: &D,
    asking: Result<Asking, Reply>,
    (from, turn): (&D::From, Result<OwnedSemaphorePermit, AcquireError>),
) -> io::Result<()> {
    let (reply, form) = match asking {
        Ok(asking) => {
            let form = asking.form.clone();
            (clerk.answer(asking).await, Some(form))
        }
        Err(fault) => (fault, None),
    };
    // A client that does not read must not keep the others waiting.
    drop(turn);
    let limit = match form {
        Some(Form::Json { .. }) => clerk.datagram_timeout(),
        Some(Form::Binary { .. }) | None => Duration::ZERO,
    };
    let sent = match whole(&reply, D::SIZE_MAX) {
        Some(bytes) => socket.send(&bytes, from, limit).await,
        None => Err(io::Error::from_raw_os_error(libc::EMSGSIZE)),
    };
    match (sent, form) {
        (Err(error), Some(form)) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
            let fault = Fault::new(500, "the answer is too long for a datagram, use a stream");
            socket.send(&form.fault(&fault).head, from, limit).await
        }
        (sent, _) => sent,
    }
}

fn whole(reply: &Reply, size_max: Option<usize>) -> Option<Vec<u8>> {
    let bytes = [&reply.head, reply.body.short()?].concat();
    size_max
        .is_none_or(|max| bytes.len() <= max)
        .then_some(bytes)
}
