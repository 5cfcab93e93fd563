//! The addresses that `http` actions may call. The address counts that is connected to, however the URL or a name of it is
//! written: each look-up of a name and each address in a URL comes here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv6Net};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// What an agent refuses unless it is told otherwise: link-local addresses, and those of their own at which the clouds
/// answer for a machine's role (AWS, Google). <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>
const DENIED: [&str; 4] = ["169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "fd20:ce::/32"];

/// The prefix of IPv4 addresses behind a translator (RFC 6052).
const TRANSLATED: &str = "64:ff9b::/96";

/// The networks that `http` actions may call and those that they may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// No address in one of these is called.
    pub deny: Vec<IpNet>,
    /// But in one of these.
    pub allow: Vec<IpNet>,
}

impl Default for Targets {
    fn default() -> Self {
        Self { deny: DENIED.iter().filter_map(|network| network.parse().ok()).collect(), allow: Vec::new() }
    }
}

/// An address that may not be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent does not call {0} (--http-deny, --http-allow)")]
pub(super) struct Denied(pub(super) IpAddr);

impl Targets {
    /// The defaults, with more networks that are denied or allowed.
    pub fn with(deny: impl IntoIterator<Item = IpNet>, allow: impl IntoIterator<Item = IpNet>) -> Self {
        let mut targets = Self::default();
        targets.deny.extend(deny);
        targets.allow.extend(allow);
        targets
    }

    /// Reads `10.0.0.0/8`, or one address.
    pub fn network(text: &str) -> Option<IpNet> {
        text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
    }

    fn check(&self, address: IpAddr) -> Result<(), Denied> {
        // What is allowed of one way to it says nothing of another: `::/0` does not open what an IPv6 address stands for.
        let is_refused = |way: &IpAddr| {
            let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(way));
            is_in(&self.deny) && !is_in(&self.allow)
        };
        if ways(address).iter().any(is_refused) { Err(Denied(address)) } else { Ok(()) }
    }

    /// Refuses a URL with an address that may not be called. A name is looked up later.
    pub(super) fn check_url(&self, url: &Url) -> Result<(), Denied> {
        let host = url.host_str().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        host.parse().map_or(Ok(()), |address| self.check(address))
    }
}

/// The addresses that the system may reach by this one. An IPv4 address that is written as an IPv6 one is that one.
fn ways(address: IpAddr) -> Vec<IpAddr> {
    let address = address.to_canonical();
    let mut ways = vec![address];
    match address {
        // The system connects to this machine.
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => ways.push(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            ways.extend([IpAddr::from(Ipv6Addr::LOCALHOST), Ipv4Addr::LOCALHOST.into()]);
        }
        IpAddr::V4(_) => {}
        IpAddr::V6(v6) => {
            let is_translated = TRANSLATED.parse::<Ipv6Net>().is_ok_and(|network| network.contains(&v6));
            let [.., a, b, c, d] = v6.octets();
            let inside = is_translated.then(|| Ipv4Addr::new(a, b, c, d));
            ways.extend(inside.into_iter().flat_map(|v4| self::ways(v4.into())));
        }
    }
    ways
}

/// Looks names up as the system does, and leaves out the addresses that may not be called.
pub(super) struct Resolver(pub(super) Arc<Targets>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let targets = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(allowed(&targets, found)?.into_iter()) as Addrs)
        })
    }
}

/// Those that may be called; an error if there is none but others.
fn allowed(targets: &Targets, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Denied> {
    let (mut allowed, mut denied) = (Vec::new(), None);
    for address in found {
        match targets.check(address.ip()) {
            Ok(()) => allowed.push(address),
            Err(error) => denied = Some(error),
        }
    }
    if let (true, Some(denied)) = (allowed.is_empty(), denied) { Err(denied) } else { Ok(allowed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(targets: &Targets, host: &str, may_be_called: bool) {
        let url: Url = format!("http://{host}:80/x").parse().expect("a URL");
        assert_eq!(targets.check_url(&url).is_ok(), may_be_called, "{host}");
    }

    #[test]
    fn link_local_address_is_refused_however_it_is_written() {
        let targets = Targets::default();
        for host in [
            "169.254.169.254",
            "169.254.170.2",
            "2852039166",
            "0xa9fea9fe",
            "0251.0376.0251.0376",
            "169.254.43518",
            "[fe80::1]",
            "[febf::1]",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
            "[64:ff9b::169.254.169.254]",
            "[fd00:ec2::254]",
            "[fd20:ce::254]",
        ] {
            check(&targets, host, false);
        }
        for host in ["127.0.0.1", "10.0.0.1", "169.253.1.1", "[::1]", "[fec0::1]", "[fd00::1]", "example.com"] {
            check(&targets, host, true);
        }
    }

    #[test]
    fn allowed_network_opens_no_other_way_to_an_address() {
        let targets = Targets::with([], Targets::network("::/0"));
        for host in ["[::ffff:169.254.169.254]", "[64:ff9b::169.254.169.254]", "169.254.169.254"] {
            check(&targets, host, false);
        }
        check(&targets, "[fe80::1]", true);
    }

    #[test]
    fn networks_are_denied_and_allowed() {
        let network = |text: &str| Targets::network(text).expect("a network");
        let targets = Targets::with([network("0.0.0.0/0"), network("::/0")], [network("10.1.0.0/16"), network("::1")]);
        for (host, may_be_called) in [
            ("10.1.2.3", true),
            ("10.2.0.1", false),
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("[::1]", true),
            ("[::2]", false),
            ("[::ffff:10.1.2.3]", true),
        ] {
            check(&targets, host, may_be_called);
        }
        let of_this_machine = Targets::with([network("127.0.0.0/8"), network("::1")], []);
        for host in ["127.0.0.1", "127.1", "0.0.0.0", "0", "[::]", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:0.0.0.0]"] {
            check(&of_this_machine, host, false);
        }
        let opened = Targets::with([], [network("169.254.169.254")]);
        check(&opened, "169.254.169.254", true);
        check(&opened, "169.254.169.253", false);
        for wrong in ["", "x", "10.0.0.0/33", "10.0.0/8", "::/129"] {
            assert_eq!(Targets::network(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_lead_to_allowed_addresses_only() {
        let targets = Targets::default();
        let at = |text: &str| SocketAddr::new(text.parse().expect("an address"), 0);
        let (good, bad) = (at("192.0.2.1"), at("169.254.169.254"));
        assert_eq!(allowed(&targets, [bad, good].into_iter()), Ok(vec![good]));
        assert_eq!(allowed(&targets, [bad].into_iter()), Err(Denied(bad.ip())));
        assert_eq!(allowed(&targets, std::iter::empty()), Ok(vec![]));
    }
}
