//! Opening all listening sockets before anything runs, and telling all that is wrong at once.
//!
//! Each core gets its own socket for each address; the kernel spreads what arrives over the
//! group (`SO_REUSEPORT`), for datagrams by the Call-ID where it lets itself be told how
//! ([`steering`]). The sockets of a group are opened in the order of the cores, so the place of a
//! socket in its group is the number of its core.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::mpsc::{self, Receiver, Sender};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::control::listen::Listener;
use super::error::IoError;
use super::log::Log;
use super::plan::{Plan, UdpOptions};
use super::signals::{Event, Stopper};
use super::steering::{self, Steering};
use super::sys;
use crate::effect::{Address, Level, Proto};

/// Connections that may wait to be accepted; the kernel bounds it by `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// What glommio wants of `RLIMIT_MEMLOCK` whatever it is used for.
const LOCKED_MEMORY_MIN: u64 = 512 << 10;

/// Locked bytes of one executor: three rings that register 64 KiB each, and the rings themselves.
const LOCKED_MEMORY_PER_CORE: u64 = 256 << 10;

/// The listening sockets of all cores, open.
#[derive(Debug)]
pub struct Sockets {
    addresses: Vec<Address>,
    pub(crate) cpus: Vec<usize>,
    pub(crate) cores: Vec<CoreSockets>,
    pub(crate) control: Vec<Listener>,
    pub(crate) steering: Steering,
    pub(crate) events: (Sender<Event>, Receiver<Event>),
}

/// The listening sockets of one core, by `SocketId`.
#[derive(Debug, Default)]
pub(crate) struct CoreSockets {
    pub(crate) listen: Vec<Listen>,
}

/// One listening socket.
#[derive(Debug)]
pub(crate) enum Listen {
    Udp {
        socket: UdpSocket,
        /// The kernel chooses among the sockets of this address by Call-ID.
        is_steered: bool,
    },
    Tcp(TcpListener),
}

impl Sockets {
    /// Opens every socket of the plan for every core, or says everything that stands against it.
    pub fn bind(plan: &Plan) -> Result<Sockets, Vec<IoError>> {
        let mut errors = Vec::new();
        let cpus = match choose_cpus(&plan.cores) {
            Ok(cpus) => cpus,
            Err(e) => {
                errors.extend(e);
                vec![0]
            }
        };
        if plan.listen.is_empty() || plan.listen.len() > usize::from(u16::MAX) {
            errors.push(IoError::ListenCount(plan.listen.len()));
        }
        if let Err(e) = check_locked_memory(cpus.len()) {
            errors.push(e);
        }
        let mut addresses = plan.listen.clone();
        let mut steering = Steering::Needless;
        let mut cores: Vec<CoreSockets> = cpus.iter().map(|_| CoreSockets::default()).collect();
        for address in &mut addresses {
            match bind_group(address, cpus.len(), &plan.udp) {
                Ok((group, steered)) => {
                    steering = steering.and(steered);
                    for (core, socket) in cores.iter_mut().zip(group) {
                        core.listen.push(socket);
                    }
                }
                Err(e) => errors.push(e),
            }
        }
        let mut control = Vec::new();
        for socket in &plan.control {
            match Listener::open(socket) {
                Ok(listener) => control.push(listener),
                Err(e) => errors.push(e),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Sockets {
            addresses,
            cpus,
            cores,
            control,
            steering,
            events: mpsc::channel(),
        })
    }

    /// The addresses in the order of their `SocketId`, with the ports that the system chose.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// How many cores there are, each with one shard.
    pub fn shard_count(&self) -> u16 {
        self.cpus.len() as u16
    }

    /// How messages in datagrams find the core that owns their call.
    pub fn steering(&self) -> &Steering {
        &self.steering
    }

    /// The datagram sockets of the first address, each with the CPU of its core, for whoever wants
    /// to know what they cost without a proxy behind them.
    pub fn into_datagrams(self) -> Vec<(usize, UdpSocket)> {
        let first = |core: CoreSockets| match core.listen.into_iter().next() {
            Some(Listen::Udp { socket, .. }) => Some(socket),
            Some(Listen::Tcp(_)) | None => None,
        };
        let sockets = self.cores.into_iter().map(first);
        let both = self.cpus.into_iter().zip(sockets);
        both.filter_map(|(cpu, socket)| Some((cpu, socket?)))
            .collect()
    }

    /// A handle that stops [`super::run`] as SIGTERM does.
    pub fn stopper(&self) -> Stopper {
        Stopper::new(self.events.0.clone())
    }
}

/// Says what the kernel granted of the buffers that were asked for; the first core's sockets speak
/// for all. It counts its own overhead in, so a full grant shows as twice what was asked.
pub(crate) fn log_buffers(cores: &[CoreSockets], log: &Log) {
    for socket in cores.iter().take(1).flat_map(|core| &core.listen) {
        if let Listen::Udp { socket, .. } = socket
            && let Ok(local) = socket.local_addr()
        {
            let socket = SockRef::from(socket);
            let receive = socket.recv_buffer_size().unwrap_or_default();
            let send = socket.send_buffer_size().unwrap_or_default();
            log.say(Level::Info, || {
                format!(
                    "udp:{local}: the kernel granted buffers of {receive} bytes to receive and \
                     {send} to send (net.core.rmem_max, net.core.wmem_max bound them)"
                )
            });
        }
    }
}

/// The CPUs of the plan, each checked, or all there are.
fn choose_cpus(wanted: &[usize]) -> Result<Vec<usize>, Vec<IoError>> {
    let there: Vec<usize> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .iter()
        .map(|core| core.id)
        .collect();
    let chosen = if wanted.is_empty() { &there } else { wanted };
    if chosen.is_empty() || chosen.len() > usize::from(u16::MAX) {
        return Err(vec![IoError::CoreCount(chosen.len())]);
    }
    let missing: Vec<IoError> = chosen
        .iter()
        .filter(|cpu| !there.contains(cpu))
        .map(|cpu| IoError::NoCore(*cpu))
        .collect();
    if missing.is_empty() {
        Ok(chosen.to_vec())
    } else {
        Err(missing)
    }
}

/// Whether the rings of this many executors fit, after raising the limit as far as is allowed.
fn check_locked_memory(core_count: usize) -> Result<(), IoError> {
    let needed = LOCKED_MEMORY_MIN.max(LOCKED_MEMORY_PER_CORE * core_count as u64);
    let read = || sys::locked_memory_allowed().map_err(IoError::start("read RLIMIT_MEMLOCK"));
    if read()? < needed {
        sys::raise_locked_memory(needed).map_err(IoError::start("raise RLIMIT_MEMLOCK"))?;
    }
    let allowed = read()?;
    if allowed < needed {
        return Err(IoError::LockedMemory { needed, allowed });
    }
    Ok(())
}

/// One socket for each core on one address, and who brings datagrams to them; a port that the
/// system chose is written into the address.
fn bind_group(
    address: &mut Address,
    core_count: usize,
    udp: &UdpOptions,
) -> Result<(Vec<Listen>, Steering), IoError> {
    let failed = |address: &Address, error| IoError::Listen {
        address: address.clone(),
        error,
    };
    if !matches!(address.proto, Proto::Udp | Proto::Tcp) {
        return Err(IoError::NoTransport(address.clone()));
    }
    // A group would let a second process of this user in unseen and share the calls with it: a
    // socket that shares with nobody finds out whether anyone is there. It is never listened on.
    let probe = open(address.proto, address.local)
        .and_then(|probe| probe.bind(&address.local.into()).map(|()| probe));
    address.local = probe
        .and_then(|probe| local_addr(&probe))
        .map_err(|e| failed(address, e))?;
    let bound = match address.proto.is_reliable() {
        true => bind_listeners(address.local, core_count, udp.tos),
        false => bind_datagrams(address.local, core_count, udp),
    };
    bound.map_err(|e| failed(address, e))
}

fn bind_listeners(
    local: SocketAddr,
    core_count: usize,
    tos: Option<u8>,
) -> io::Result<(Vec<Listen>, Steering)> {
    let listeners: io::Result<Vec<Listen>> = (0..core_count)
        .map(|_| {
            let socket = open(Proto::Tcp, local)?;
            socket.set_reuse_port(true)?;
            // Handed on to the connections that it accepts.
            set_tos(&socket, local, tos)?;
            socket.bind(&local.into())?;
            socket.listen(BACKLOG)?;
            Ok(Listen::Tcp(socket.into()))
        })
        .collect();
    Ok((listeners?, Steering::Needless))
}

/// The kernel steers among them as far as it does.
fn bind_datagrams(
    local: SocketAddr,
    core_count: usize,
    udp: &UdpOptions,
) -> io::Result<(Vec<Listen>, Steering)> {
    let mut group = match core_count {
        ..2 => None,
        count => Some(steering::Group::load(count as u16)),
    };
    let mut sockets = Vec::with_capacity(core_count);
    for core in 0..core_count {
        let socket = open(Proto::Udp, local)?;
        socket.set_reuse_port(true)?;
        set_tos(&socket, local, udp.tos)?;
        socket.set_recv_buffer_size(udp.receive_buffer_size)?;
        socket.set_send_buffer_size(udp.send_buffer_size)?;
        if local.is_ipv4() {
            sys::discover_path_mtu(&socket, udp.discovers_path_mtu)?;
        }
        sys::report_queue(&socket)?;
        if core == 0 {
            group = group.map(|g| g.and_then(|g| g.lead(&socket)));
        }
        socket.bind(&local.into())?;
        group = group.map(|g| g.and_then(|g| g.join(core as u16, &socket)));
        sockets.push(UdpSocket::from(socket));
    }
    let steering = match group {
        None => Steering::Needless,
        Some(Ok(_)) => Steering::Kernel,
        Some(Err(refusal)) => Steering::HandOver(refusal),
    };
    let is_steered = matches!(steering, Steering::Kernel);
    let listen = |socket| Listen::Udp { socket, is_steered };
    Ok((sockets.into_iter().map(listen).collect(), steering))
}

fn set_tos(socket: &Socket, local: SocketAddr, tos: Option<u8>) -> io::Result<()> {
    match tos {
        Some(tos) if local.is_ipv4() => socket.set_tos_v4(tos.into()),
        _ => Ok(()),
    }
}

/// A socket that does not block, to be bound.
fn open(proto: Proto, local: SocketAddr) -> io::Result<Socket> {
    let (kind, protocol) = match proto.is_reliable() {
        true => (Type::STREAM, Protocol::TCP),
        false => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(local), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if proto.is_reliable() {
        // Connections of a process before this one may still be ending.
        socket.set_reuse_address(true)?;
    }
    Ok(socket)
}

fn local_addr(socket: &Socket) -> io::Result<SocketAddr> {
    socket
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(proto: Proto, local: &str) -> Address {
        Address {
            proto,
            local: local.parse().unwrap(),
            advertised: None,
            name: None,
        }
    }

    #[test]
    fn every_core_gets_a_socket_on_the_port_that_was_chosen() {
        let listen = vec![
            address(Proto::Udp, "127.0.0.1:0"),
            address(Proto::Tcp, "127.0.0.1:0"),
            address(Proto::Udp, "[::1]:0"),
        ];
        let plan = Plan::new(listen);
        let sockets = Sockets::bind(&plan).unwrap();
        assert_eq!(sockets.cores.len(), usize::from(sockets.shard_count()));
        for core in &sockets.cores {
            for (socket, address) in core.listen.iter().zip(sockets.addresses()) {
                let local = match socket {
                    Listen::Udp { socket, .. } => socket.local_addr(),
                    Listen::Tcp(listener) => listener.local_addr(),
                };
                assert_eq!(local.unwrap(), address.local);
                assert_ne!(address.local.port(), 0);
            }
        }
    }

    #[test]
    fn sockets_have_the_type_of_service_and_the_discovery_that_are_wanted() {
        for (tos, discovers) in [(Some(0x10), false), (Some(0x08), true), (None, true)] {
            let mut plan = Plan::new(vec![
                address(Proto::Udp, "127.0.0.1:0"),
                address(Proto::Tcp, "127.0.0.1:0"),
            ]);
            (plan.udp.tos, plan.udp.discovers_path_mtu) = (tos, discovers);
            let sockets = Sockets::bind(&plan).unwrap();
            for socket in sockets.cores.iter().flat_map(|core| &core.listen) {
                let found = match socket {
                    Listen::Udp { socket, .. } => {
                        assert_eq!(sys::discovers_path_mtu(socket).unwrap(), discovers);
                        SockRef::from(socket).tos_v4()
                    }
                    Listen::Tcp(listener) => SockRef::from(listener).tos_v4(),
                };
                assert_eq!(found.unwrap(), u32::from(tos.unwrap_or(0)));
            }
        }
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let held = UdpSocket::bind("127.0.0.1:0").unwrap();
        let shared = open(Proto::Udp, "127.0.0.1:0".parse().unwrap()).unwrap();
        shared.set_reuse_port(true).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        shared.bind(&any.into()).unwrap();
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = |a: SocketAddr| a.to_string();
        let mut plan = Plan::new(vec![
            address(Proto::Udp, &local(held.local_addr().unwrap())),
            address(Proto::Udp, &local(local_addr(&shared).unwrap())),
            address(Proto::Tcp, &local(listening.local_addr().unwrap())),
            address(Proto::Udp, "192.0.2.1:5060"),
            address(Proto::Tls, "127.0.0.1:0"),
            address(Proto::Udp, "127.0.0.1:0"),
        ]);
        plan.cores = vec![usize::MAX];
        let errors = Sockets::bind(&plan).unwrap_err();
        let kinds: Vec<String> = errors
            .iter()
            .map(|error| match error {
                IoError::Listen { error, .. } => format!("{:?}", error.kind()),
                IoError::NoTransport(_) => "NoTransport".into(),
                other => format!("{other:?}"),
            })
            .collect();
        let no_core = format!("NoCore({})", usize::MAX);
        assert_eq!(
            kinds,
            [
                no_core.as_str(),
                "AddrInUse",
                "AddrInUse",
                "AddrInUse",
                "AddrNotAvailable",
                "NoTransport"
            ]
        );
    }
}
