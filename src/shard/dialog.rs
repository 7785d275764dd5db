//! What dialogs leave to be done: event routes, timeout routes, and what other shards ask.
//!
//! A step of a dialog puts what scripts are to see of it into a queue. It is worked off at three
//! places: inside the script whose function caused it, before that function returns; at the end of
//! a run; and when a timer, which has no script, has been handled. Event routes run as
//! activations of the machine that runs anyway, as a branch_route does inside `t_relay`.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use crate::effect::peer::{Answer, NonceUse, Order, Which};
use crate::effect::{Effect, Flow, PeerMessage, Proto, SocketId, TransactionOrder};
use crate::modules::Call;
use crate::modules::auth;
use crate::modules::dialog::elsewhere::{self, Elsewhere};
use crate::modules::dialog::life;
use crate::modules::dialog::strings::Field;
use crate::modules::dialog::{self, Happening, Route, peers};
use crate::modules::htable;
use crate::modules::shared;
use crate::modules::work::Work;
use crate::modules::{dispatcher, uac};
use crate::script::{Program, RouteId, RouteKind};
use crate::sip::Message;
use crate::slab::Key;
use crate::steer::{self, ShardId};

use super::run::{Next, Run, Then};
use super::{Shard, Step};

/// What a run was about before a route of a dialog took its place.
#[derive(Debug)]
pub(super) struct Interrupted {
    kind: RouteKind,
    /// The current dialog.
    current: Option<Key>,
    /// The same when another shard has it.
    elsewhere: Option<Box<Elsewhere>>,
    /// The work, when the route looks at another message.
    work: Option<Box<Work>>,
    /// What the function returns that caused it; `None`: the run is over.
    resume: Option<i64>,
    /// What is to be done behind the route, however long it waits for the world.
    left: VecDeque<Happening>,
}

/// A question to another shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Asking {
    pub(super) shard: ShardId,
    pub(super) what: Question,
}

/// What is asked; a script waits for the answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Question {
    /// Look at a dialog, or do something to it.
    Dialog(Which, Order),
    /// Do something to a transaction.
    Transaction(Arc<TransactionOrder>),
    /// Say whether a nonce may be used.
    Nonce(Box<auth::Pending>),
}

/// A route that is to run.
struct Job {
    dialog: Key,
    route: RouteId,
    kind: RouteKind,
    message: Option<Rc<Message>>,
}

impl Shard {
    /// A function of the script has moved dialogs: their routes run before it returns `code`.
    pub(super) fn dialogs_within(&mut self, step: &mut Step<'_>, run: &mut Run, code: i64) -> Next {
        let program = Arc::clone(&run.program);
        match self.next_job(step, &program) {
            Some(job) => self.begin_job(run, job, Some(code)),
            None => run.vm.resume(code),
        }
        Next::Run
    }

    /// A run is over. True: it has moved dialogs, and goes on with their routes.
    pub(super) fn dialogs_after(&mut self, step: &mut Step<'_>, run: &mut Run) -> bool {
        let program = Arc::clone(&run.program);
        let Some(job) = self.next_job(step, &program) else {
            return false;
        };
        if let Some(transaction) = run.work.transaction {
            self.lend(&mut run.work, transaction);
        }
        self.begin_job(run, job, None);
        true
    }

    /// An input or a timer has been handled: what dialogs left runs on its own.
    pub(super) fn dialogs_left(&mut self, step: &mut Step<'_>) {
        while let Some(dialog) = self.next_dialog(step) {
            let Some(d) = self.state.dialogs.table.get(dialog) else {
                continue;
            };
            let (program, call) = (Arc::clone(&d.program), steer::hash(d.call_id()));
            let Some(job) = self.next_job(step, &program) else {
                continue;
            };
            let work = self.placeholder_work(job.message.clone());
            let mut run = self.new_run(program, work);
            run.call = call;
            self.begin_job(&mut run, job, None);
            self.drive(step, run);
        }
        peers::tell_soon(&mut self.env(step));
    }

    /// The dialog of the next route; what is no route is done on the way.
    fn next_dialog(&mut self, step: &mut Step<'_>) -> Option<Key> {
        loop {
            if let Happening::Route { dialog, .. } = self.state.dialogs.happenings.front()? {
                return Some(*dialog);
            }
            let happening = self.state.dialogs.happenings.pop_front()?;
            self.happen(step, happening);
        }
    }

    /// The next route that the program has; what is no route is done on the way.
    fn next_job(&mut self, step: &mut Step<'_>, program: &Program) -> Option<Job> {
        while let Some(happening) = self.state.dialogs.happenings.pop_front() {
            let Happening::Route {
                dialog,
                route,
                message,
            } = happening
            else {
                self.happen(step, happening);
                continue;
            };
            let (kind, found) = match route {
                Route::Timeout => (RouteKind::Request, self.timeout_route(program, dialog)),
                Route::Start | Route::End | Route::Failed => {
                    let name = route.name().as_bytes();
                    (RouteKind::Event, program.route(RouteKind::Event, name))
                }
            };
            if let Some(route) = found {
                return Some(Job {
                    dialog,
                    route,
                    kind,
                    message,
                });
            }
        }
        None
    }

    fn timeout_route(&self, program: &Program, dialog: Key) -> Option<RouteId> {
        let dialog = self.state.dialogs.table.get(dialog)?;
        program.route(RouteKind::Request, dialog.strings.get(Field::TimeoutRoute))
    }

    fn happen(&mut self, step: &mut Step<'_>, happening: Happening) {
        match happening {
            Happening::Expire(key) => dialog::over(&mut self.env(step), key),
            Happening::Remove(key) => life::remove(&mut self.env(step), key),
            Happening::Route { .. } => {}
        }
    }

    /// A route takes the run over: with the work at hand when it is about the same message.
    fn begin_job(&mut self, run: &mut Run, job: Job, resume: Option<i64>) {
        let kind = run.work.kind;
        let is_same = job
            .message
            .as_ref()
            .is_some_and(|m| Rc::ptr_eq(m, &run.work.message));
        let mut interrupted = Interrupted {
            kind,
            current: run.work.dialog.current,
            elsewhere: run.work.dialog.elsewhere.take(),
            work: None,
            resume,
            left: std::mem::take(&mut self.state.dialogs.happenings),
        };
        if !is_same {
            let mut work = self.placeholder_work(job.message);
            if !Rc::ptr_eq(&work.message, &self.state.dialogs.placeholder()) {
                work.flow = run.work.flow;
            }
            std::mem::swap(&mut work.avps, &mut run.work.avps);
            interrupted.work = Some(Box::new(std::mem::replace(&mut run.work, work)));
        }
        run.work.dialog.current = Some(job.dialog);
        Shard::enter(
            run,
            job.kind,
            job.route,
            Then::Dialog(Box::new(interrupted)),
        );
    }

    /// Such a route is over.
    pub(super) fn dialog_route_ended(
        &mut self,
        step: &mut Step<'_>,
        run: &mut Run,
        interrupted: Interrupted,
    ) -> Next {
        let Interrupted {
            kind,
            current,
            elsewhere,
            work,
            resume,
            mut left,
        } = interrupted;
        self.state.dialogs.happenings.append(&mut left);
        if let Some(mut work) = work {
            std::mem::swap(&mut work.avps, &mut run.work.avps);
            run.work = *work;
        }
        run.work.kind = kind;
        run.work.dialog.current = current;
        run.work.dialog.elsewhere = elsewhere;
        let program = Arc::clone(&run.program);
        if let Some(job) = self.next_job(step, &program) {
            self.begin_job(run, job, resume);
            return Next::Run;
        }
        match resume {
            Some(code) => {
                run.vm.resume(code);
                Next::Run
            }
            None => {
                self.give_back(&mut run.work);
                Next::Done
            }
        }
    }

    pub(super) fn placeholder_work(&self, message: Option<Rc<Message>>) -> Work {
        let local = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 5060);
        let flow = Flow {
            socket: SocketId(0),
            proto: Proto::Udp,
            remote: local,
            conn: None,
        };
        let message = message.unwrap_or_else(|| self.state.dialogs.placeholder());
        Work::new(RouteKind::Event, message, flow)
    }

    /// Another shard has something to say.
    pub(super) fn peer(&mut self, step: &mut Step<'_>, from: ShardId, message: PeerMessage) {
        match message {
            PeerMessage::Item(news) => htable::heard(&mut self.env(step), from, &news),
            PeerMessage::Nonce { run, number, count } => {
                let told = auth::asked(&mut self.env(step), number, count);
                let answer = PeerMessage::NonceUse { run, told };
                step.out.push(Effect::Peer(from, answer));
            }
            PeerMessage::NonceUse { run, told } => self.nonce_judged(step, run, told),
            PeerMessage::Decoded { flow, bytes } => self.decoded(step, flow, &bytes),
            PeerMessage::Shared(news) => shared::heard(&mut self.env(step), from, &news),
            PeerMessage::Request(request) => uac::peer::heard(&mut self.env(step), *request),
            PeerMessage::Transaction { run, order } => {
                let is_found = self.ordered(step, &order);
                let answer = PeerMessage::Answered { run, is_found };
                step.out.push(Effect::Peer(from, answer));
            }
            PeerMessage::Batch(batch) => peers::heard(&mut self.env(step), from, &batch),
            PeerMessage::Seen(number) => peers::seen(&mut self.env(step), from, number),
            PeerMessage::Settled(number) => peers::settle(&mut self.env(step), from, number),
            PeerMessage::Question(question) => {
                elsewhere::asked(&mut self.env(step), from, &question);
            }
            PeerMessage::Answer(answer) => self.answered(step, *answer),
            PeerMessage::Destination { set, uri, flags } => {
                dispatcher::heard(&mut self.env(step), set, &uri, flags);
            }
            PeerMessage::Answered { run, is_found } => {
                let Some(mut run) = self.unpark(step, run) else {
                    return;
                };
                run.asking = None;
                run.vm.resume(if is_found { 1 } else { -1 });
                self.drive(step, run);
            }
        }
    }

    /// A script waits for another shard.
    pub(super) fn ask_shard(&mut self, step: &mut Step<'_>, run: Key, asking: &Asking) {
        match &asking.what {
            Question::Dialog(which, order) => {
                let what = (which.clone(), order.clone());
                elsewhere::ask(&mut self.env(step), asking.shard, Some(run), what);
            }
            Question::Transaction(order) => {
                let order = Arc::clone(order);
                let question = PeerMessage::Transaction { run, order };
                step.out.push(Effect::Peer(asking.shard, question));
            }
            Question::Nonce(pending) => {
                let (shard, number, count) = pending.nonce;
                let question = PeerMessage::Nonce { run, number, count };
                step.out.push(Effect::Peer(shard, question));
            }
        }
    }

    /// The shard that made a nonce has spoken: the script that waits goes on.
    fn nonce_judged(&mut self, step: &mut Step<'_>, run: Key, told: NonceUse) {
        let Some(mut run) = self.unpark(step, run) else {
            return;
        };
        let code = match run.asking.take().map(|asking| asking.what) {
            Some(Question::Nonce(pending)) => {
                let Run { work, program, .. } = &mut *run;
                let env = self.env(step);
                auth::judged(&mut Call { env, work, program }, &pending, told)
            }
            Some(_) | None => -1,
        };
        run.vm.resume(code);
        self.drive(step, run);
    }

    /// It has its answer.
    fn answered(&mut self, step: &mut Step<'_>, answer: Answer) {
        let Some(mut run) = self.unpark(step, answer.run) else {
            return;
        };
        let code = if answer.is_done { 1 } else { -1 };
        if let (Some(asking), Some(copy)) = (run.asking.take(), answer.copy)
            && let Question::Dialog(which, _) = &asking.what
        {
            elsewhere::answered(&mut run.work.dialog, asking.shard, which, copy);
        }
        run.vm.resume(code);
        self.drive(step, run);
    }
}
