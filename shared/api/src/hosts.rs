//! The names that the API may be reached by. A web page that makes its own name point here (DNS rebinding) sends that
//! name in `Host`. Any page sends its own name in `Origin`. The API refuses both.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// Which authorities calls may be addressed to.
#[derive(Debug, Clone)]
pub enum AllowedHosts {
    /// By these names.
    Names(Names),
    /// Any. Only for an API that only a gateway can reach. The gateway routes only calls to its own domain, so a
    /// foreign name never gets here.
    BehindGateway,
}

/// Names of an API.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Authorities as they stand: `localhost:8080`, `api.example.com`.
    exact: BTreeSet<String>,
    /// Names, each with every port: a forwarded port and a proxy have one of their own.
    with_any_port: BTreeSet<String>,
    /// Every IP address. No page can make its own name one.
    any_address: bool,
}

/// The port that is left out of a `Host` header.
const HTTP_PORT: u16 = 80;
/// The names of a machine for itself.
const LOOPBACK: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

impl AllowedHosts {
    /// These names: `api.example.com:8443` with that port alone, `api.example.com` and `10.0.0.7` with every port.
    pub fn new(hosts: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut names = Names::default();
        for host in hosts {
            let host = bracketed(host.as_ref());
            if name_of(&host) == host {
                names.with_any_port.insert(host.clone());
            }
            names.exact.insert(host);
        }
        Self::Names(names)
    }

    /// The names of this machine for itself, with every port. Only the pages of this port may call.
    pub fn loopback(port: u16) -> Self {
        let bare = LOOPBACK.iter().filter(|_| port == HTTP_PORT).map(|name| (*name).to_owned());
        Self::Names(Names {
            exact: LOOPBACK.iter().map(|name| format!("{name}:{port}")).chain(bare).collect(),
            with_any_port: LOOPBACK.iter().map(|name| (*name).to_owned()).collect(),
            any_address: false,
        })
    }

    /// Every IP address. For an API that other machines reach: by which of its addresses, also through a forwarded port,
    /// the host does not know.
    pub fn any_address() -> Self {
        Self::Names(Names { any_address: true, ..Names::default() })
    }

    /// These names too.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        match (self, others) {
            (Self::Names(mut names), Self::Names(more)) => {
                names.exact.extend(more.exact);
                names.with_any_port.extend(more.with_any_port);
                names.any_address |= more.any_address;
                Self::Names(names)
            }
            (Self::BehindGateway, _) | (_, Self::BehindGateway) => Self::BehindGateway,
        }
    }

    /// Whether a call may be addressed to these authorities: every place that names one must name an allowed one, and
    /// at least one place must.
    pub(crate) fn allow(&self, addressed: &[&str]) -> bool {
        match self {
            Self::Names(names) => !addressed.is_empty() && addressed.iter().all(|authority| names.have(authority)),
            Self::BehindGateway => true,
        }
    }

    /// Whether a page of that origin may call: it came from the address that it calls, or from an allowed name as that
    /// stands. A page of another port of this machine is another program's.
    pub(crate) fn allow_origin(&self, origin: &str, addressed: &[&str]) -> bool {
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| {
            let is_named = match self {
                Self::Names(names) => names.exact.contains(&authority.to_ascii_lowercase()),
                Self::BehindGateway => false,
            };
            is_named || addressed.iter().any(|name| name.eq_ignore_ascii_case(authority))
        })
    }

    /// The names, for people.
    pub(crate) fn shown(&self) -> String {
        let Self::Names(names) = self else { return "any name of the gateway".to_owned() };
        let exact = names.exact.iter().filter(|name| !names.with_any_port.contains(name_of(name)));
        let mut shown: Vec<&str> = names.with_any_port.iter().chain(exact).map(String::as_str).collect();
        if names.any_address {
            shown.push("every IP address");
        }
        shown.join(", ")
    }
}

impl Names {
    fn have(&self, authority: &str) -> bool {
        let authority = authority.to_ascii_lowercase();
        let name = name_of(&authority);
        // A name with a dot at its end is the same name.
        let name = name.strip_suffix('.').unwrap_or(name);
        self.exact.contains(&authority)
            || self.with_any_port.contains(name)
            || self.any_address && name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
    }
}

/// The name or address in front of the port.
fn name_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if is_whole(name) && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => authority,
    }
}

/// Whether that is no piece of an IPv6 address.
fn is_whole(name: &str) -> bool {
    !name.contains(':') || name.starts_with('[') && name.ends_with(']')
}

/// The name in lower case. An IPv6 address stands in brackets, as in a URL.
fn bracketed(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    if host.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{host}]") } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hosts: &AllowedHosts, allowed: &[&str], refused: &[&str]) {
        for name in allowed {
            assert!(hosts.allow(&[name]), "{name} is refused");
        }
        for name in refused {
            assert!(!hosts.allow(&[name]), "{name} is let in");
        }
    }

    #[test]
    fn name_without_a_port_has_every_port() {
        let hosts = AllowedHosts::new(["Windlass.example.com", "10.0.0.7:8080", "fd00::7"]);
        let allowed =
            ["windlass.example.com", "windlass.EXAMPLE.com:8443", "windlass.example.com.:80", "10.0.0.7:8080"];
        let of_v6 = ["[fd00::7]", "[fd00::7]:1"];
        let refused = [
            "example.com",
            "windlass.example.com.evil.example",
            "evil.example:windlass.example.com",
            "windlass.example.com:x",
            "windlass.example.com..",
            "evil@windlass.example.com",
            "10.0.0.7",
            "10.0.0.7:8081",
            "fd00::7",
            "[fd00::7",
            "",
            ":80",
            "localhost",
        ];
        check(&hosts, &[&allowed[..], &of_v6[..]].concat(), &refused);
        assert_eq!(hosts.shown(), "[fd00::7], windlass.example.com, 10.0.0.7:8080");
    }

    #[test]
    fn addresses_are_let_in_as_such_and_names_are_not() {
        let hosts = AllowedHosts::loopback(8080).and(AllowedHosts::any_address());
        let allowed = ["192.0.2.2:8080", "192.0.2.2", "[2001:db8::1]:9000", "localhost:9000"];
        check(&hosts, &allowed, &["192.0.2.2.evil.example", "myhost:8080", "0x7f000001", "192.0.2.2:8080:1"]);
        assert_eq!(hosts.shown(), "127.0.0.1, [::1], localhost, every IP address");
    }

    #[test]
    fn pages_of_the_called_address_or_of_a_name_may_call() {
        let hosts = AllowedHosts::loopback(8080).and(AllowedHosts::new(["windlass.example.com"]));
        let cases = [
            ("http://127.0.0.1:9000", "127.0.0.1:9000", true),
            ("http://127.0.0.1:9000", "127.0.0.1:8080", false),
            ("http://localhost:8080", "127.0.0.1:8080", true),
            ("https://windlass.example.com", "127.0.0.1:8080", true),
            ("https://windlass.example.com:444", "127.0.0.1:8080", false),
            ("https://evil.example", "windlass.example.com", false),
            ("null", "localhost:8080", false),
        ];
        for (origin, addressed, is_allowed) in cases {
            assert_eq!(hosts.allow_origin(origin, &[addressed]), is_allowed, "{origin} of {addressed}");
        }
    }
}
