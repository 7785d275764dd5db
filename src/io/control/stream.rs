//! Operators on streams: unix sockets and TCP.
//!
//! Binary RPC: many requests on one connection, in any pieces. JSON-RPC: one request, one answer,
//! and the connection is closed. Silence, slowness and size have bounds, and so has the number of
//! clients; each client is a task of its own, so one that misbehaves keeps nobody else waiting.

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::timeout;

use super::clerk::{Asking, Clerk};
use super::clients::Seat;
use super::outlet::Outlet;
use super::sheet::{Form, Reply};
use super::spool;
use crate::effect::Level;
use crate::io::plan::Language;
use crate::limits::{RPC_IDLE_TIMEOUT, RPC_REQUEST_SIZE_MAX};
use crate::modules::rpc::binrpc::{self, Corrupt, Head, Kind};
use crate::modules::rpc::json::{self, Style};

/// Bytes read at once.
const READ_SIZE: usize = 4 << 10;

/// How long to wait when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves a unix socket until the thread ends.
pub(super) fn serve_unix(
    clerk: Rc<Clerk>,
    socket: std::os::unix::net::UnixListener,
    language: Language,
) {
    match UnixListener::from_std(socket) {
        Ok(listener) => {
            let listener = Rc::new(listener);
            let accept = move || {
                let listener = listener.clone();
                async move { listener.accept().await.map(|(stream, _)| stream) }
            };
            tokio::task::spawn_local(accept_all(clerk, language, accept));
        }
        Err(error) => clerk.log(Level::Err, || format!("operators are not served: {error}")),
    }
}

/// Serves TCP until the thread ends.
pub(super) fn serve_tcp(clerk: Rc<Clerk>, socket: std::net::TcpListener, language: Language) {
    match TcpListener::from_std(socket) {
        Ok(listener) => {
            let listener = Rc::new(listener);
            let accept = move || {
                let listener = listener.clone();
                async move { listener.accept().await.map(|(stream, _)| stream) }
            };
            tokio::task::spawn_local(accept_all(clerk, language, accept));
        }
        Err(error) => clerk.log(Level::Err, || format!("operators are not served: {error}")),
    }
}

async fn accept_all<S, F>(clerk: Rc<Clerk>, language: Language, accept: impl Fn() -> F)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    F: Future<Output = io::Result<S>>,
{
    loop {
        match accept().await {
            Ok(stream) => {
                // Without a seat the stream is closed here.
                if let Some(seat) = clerk.clients.enter() {
                    let client = Client {
                        clerk: clerk.clone(),
                        stream,
                        seat,
                        bytes: Vec::new(),
                    };
                    tokio::task::spawn_local(client.live(language));
                }
            }
            Err(error) => {
                clerk.log(Level::Warn, || {
                    format!("an operator cannot be accepted: {error}")
                });
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection.
struct Client<S> {
    clerk: Rc<Clerk>,
    stream: S,
    seat: Seat,
    /// Read and not yet understood.
    bytes: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn live(mut self, language: Language) {
        let lived = match language {
            Language::Binary { converts } => self.speak_binary(converts).await,
            Language::Json { is_pretty } => self.speak_json(Style { is_pretty }).await,
        };
        if let Err(error) = lived {
            self.clerk
                .log(Level::Dbg, || format!("an operator is gone: {error}"));
        }
        // What it was told last is to arrive.
        let _ = self.stream.shutdown().await;
    }

    /// Reads more; `false`: there will be no more.
    async fn read(&mut self) -> io::Result<bool> {
        let limit = Duration::from_nanos(RPC_IDLE_TIMEOUT.as_nanos());
        self.bytes.reserve(READ_SIZE);
        self.seat.rest();
        let read = tokio::select! {
            read = timeout(limit, self.stream.read_buf(&mut self.bytes)) => read,
            () = self.seat.evicted() => return Ok(false),
        };
        self.seat.work();
        match read {
            Ok(read) => read.map(|size| size > 0),
            Err(_) => Ok(false),
        }
    }

    async fn reply(&mut self, reply: Reply) -> io::Result<()> {
        spool::write(&mut self.stream, &reply.head).await?;
        reply.body.send(&mut self.stream).await
    }

    async fn speak_binary(&mut self, converts: bool) -> io::Result<()> {
        loop {
            match self.packet() {
                Ok(Some((head, body))) => {
                    let form = Form::Binary {
                        cookie: head.cookie,
                    };
                    let (method, args) = match binrpc::request(&body, converts) {
                        Ok(request) => request,
                        // Where the next request begins is not certain any more.
                        Err(fault) => return self.reply(form.fault(&fault)).await,
                    };
                    let asking = Asking {
                        method: Some(method),
                        is_callable: true,
                        args,
                        form,
                    };
                    let reply = self.clerk.answer(asking).await;
                    self.reply(reply).await?;
                }
                Ok(None) if self.read().await? => {}
                Ok(None) => return Ok(()),
                Err(cookie) => {
                    let form = Form::Binary { cookie };
                    return self.reply(form.fault(&binrpc::corrupt())).await;
                }
            }
        }
    }

    /// The next request, when it is there; the cookie of one that is none.
    fn packet(&mut self) -> Result<Option<(Head, Vec<u8>)>, u32> {
        let head = match binrpc::head(&self.bytes) {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(None),
            Err(Corrupt) => return Err(0),
        };
        if head.kind != Kind::Request || head.size + head.body_size > RPC_REQUEST_SIZE_MAX {
            return Err(head.cookie);
        }
        let end = head.size + head.body_size;
        if self.bytes.len() < end {
            return Ok(None);
        }
        let body = self.bytes[head.size..end].to_vec();
        self.bytes.drain(..end);
        Ok(Some((head, body)))
    }

    async fn speak_json(&mut self, style: Style) -> io::Result<()> {
        loop {
            if let Some(end) = json::object_end(&self.bytes) {
                let Some(request) = json::request(&self.bytes[..end]) else {
                    return Ok(());
                };
                let form = Form::Json {
                    style,
                    id: request.id,
                };
                let asking = Asking {
                    method: request.method,
                    is_callable: request.is_callable,
                    args: request.args,
                    form,
                };
                let mut outlet = Outlet::new(&mut self.stream, None);
                return self.clerk.answer_on(asking, &mut outlet).await;
            }
            if self.bytes.len() > RPC_REQUEST_SIZE_MAX || !self.read().await? {
                return Ok(());
            }
        }
    }
}
