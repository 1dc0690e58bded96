//! Sockets: is the address free, and how many may wait to be accepted?

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use super::{Finding, Machine, Subject};

const WHY_PORT: &str = "a server that cannot listen on its address does not start (exit status 3)";
const WHY_QUEUE: &str =
    "after a restart everybody connects at once; what does not fit into this queue waits a second and tries again";

/// Connections that should be able to wait to be accepted: a branch and its head office, twice over.
const WAITING: u64 = 1024;

pub(super) fn check(subject: &Subject<'_>) -> Vec<Finding> {
    let machine = &subject.machine;
    let mut findings: Vec<Finding> = subject.settings.all("listen").iter().map(|text| address(subject, text)).collect();
    findings.push(queue(machine, "network.somaxconn", "sys/net/core/somaxconn"));
    findings.push(queue(machine, "network.syn_backlog", "sys/net/ipv4/tcp_max_syn_backlog"));
    findings
}

fn address(subject: &Subject<'_>, text: &str) -> Finding {
    let check = "network.address";
    let Ok(address) = text.parse::<SocketAddr>() else {
        return Finding::warn(
            check,
            WHY_PORT,
            format!("{text} is no address and port"),
            "give --listen as 127.0.0.1:7070",
        );
    };
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(check, WHY_PORT, format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => in_use(subject, address),
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            let todo = "give --listen an address of `ip addr`";
            Finding::bad(check, WHY_PORT, format!("no interface of this machine has {}", address.ip()), todo)
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let todo = "take a port from 1024 on, or let systemd's socket hand it over (systemd/munim.socket)";
            Finding::bad(check, WHY_PORT, format!("this user may not listen on {address}"), todo)
        }
        Err(error) => {
            Finding::bad(check, WHY_PORT, format!("could not listen on {address}: {error}"), "look at `ip addr`")
        }
    }
}

fn in_use(subject: &Subject<'_>, address: SocketAddr) -> Finding {
    let check = "network.address";
    let owner = listener(&subject.machine, address.port());
    let by = owner
        .as_ref()
        .map_or_else(|| "a process that does not show itself".to_owned(), |(pid, name)| format!("{name} ({pid})"));
    let what = format!("{by} listens on {address}");
    match owner {
        Some((pid, _)) if Some(pid) == subject.holder => {
            Finding::ok(check, WHY_PORT, format!("{what}, and holds this folder"))
        }
        // systemd listens for the unit and hands the socket over.
        Some((1, _)) => Finding::ok(check, WHY_PORT, what),
        None if subject.holder.is_some() => {
            Finding::ok(check, WHY_PORT, format!("{what}, and this folder is being served"))
        }
        _ => {
            let port = address.port();
            let todo = format!("stop it or take another port: `ss -ltnp 'sport = :{port}'` shows who has it (as root)");
            Finding::bad(check, WHY_PORT, what, todo)
        }
    }
}

/// Who listens on a port of this machine: process and name.
fn listener(machine: &Machine, port: u16) -> Option<(u32, String)> {
    let tables = ["net/tcp", "net/tcp6"].map(|table| machine.proc(table).unwrap_or_default());
    let inode = tables.iter().find_map(|table| listening_inode(table, port))?;
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir(&machine.proc).ok()?.flatten();
    let mut pids: Vec<u32> = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // The oldest first: systemd, where it listens for a unit that has the socket too.
    pids.sort_unstable();
    let has_it = |pid: &u32| {
        let files = std::fs::read_dir(machine.proc.join(format!("{pid}/fd"))).into_iter().flatten().flatten();
        files
            .into_iter()
            .any(|file| std::fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str()))
    };
    let pid = pids.into_iter().find(has_it)?;
    Some((pid, machine.proc(format!("{pid}/comm")).unwrap_or_default()))
}

fn listening_inode(table: &str, port: u16) -> Option<u64> {
    // `0: 0100007F:1B9E 00000000:0000 0A …`: local address, remote address, state (0A listens), …, inode tenth.
    table.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (_, hex) = words.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(hex, 16) == Ok(port) && words.get(3) == Some(&"0A");
        is_it.then(|| words.get(9)?.parse().ok()).flatten()
    })
}

fn queue(machine: &Machine, check: &'static str, path: &str) -> Finding {
    let name = path.trim_start_matches("sys/").replace('/', ".");
    let todo = format!("sysctl -w {name}=4096, and the same line in /etc/sysctl.d/munim.conf");
    match machine.proc(path).and_then(|text| text.parse::<u64>().ok()) {
        Some(allowed) if allowed >= WAITING => Finding::ok(check, WHY_QUEUE, format!("{name} is {allowed}")),
        Some(allowed) => {
            Finding::warn(check, WHY_QUEUE, format!("{name} is {allowed}, {WAITING} should be able to wait"), todo)
        }
        None => Finding::warn(check, WHY_QUEUE, format!("the kernel does not show {name}"), todo),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Bad, Ok as Well, Warn};
    use super::super::tests::{machine, settings};
    use super::*;

    #[test]
    fn a_port_in_use_is_bad_unless_the_folders_server_has_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let settings = settings(&[("listen", &address), ("data", "/nonexistent/books")]);
        let mut subject = Subject::of(&settings, Machine::this());
        assert_eq!(check(&subject)[0].verdict, Bad);
        // Where /proc hides who listens, whoever holds the folder is believed.
        subject.holder = Some(std::process::id());
        assert_eq!(check(&subject)[0].verdict, Well);
        drop(listener);
        assert_eq!(check(&subject)[0].verdict, Well);
    }

    #[test]
    fn an_address_of_no_interface_is_bad() {
        let settings = settings(&[("listen", "192.0.2.1:7070"), ("data", "/nonexistent/books")]);
        assert_eq!(check(&Subject::of(&settings, Machine::this()))[0].verdict, Bad);
    }

    #[test]
    fn the_inode_of_a_listening_socket_is_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1B9E 0100007F:9999 01 00000000:00000000 00:00000000 00000000 0 0 111 1\n\
            1: 0100007F:1B9E 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 222 1";
        assert_eq!(listening_inode(table, 7070), Some(222));
        assert_eq!(listening_inode(table, 7071), None);
    }

    #[test]
    fn a_short_queue_is_told() {
        for (text, verdict) in [("4096", Well), ("1024", Well), ("128", Warn)] {
            let (_folder, machine) = machine(&[("proc/sys/net/core/somaxconn", text)]);
            assert_eq!(queue(&machine, "network.somaxconn", "sys/net/core/somaxconn").verdict, verdict, "{text}");
        }
    }
}
