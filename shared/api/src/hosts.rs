//! The names that the API may be reached by. A web page that makes its own name point here (DNS rebinding) sends that
//! name in `Host`. Any page sends its own name in `Origin`. The API refuses both.

use std::collections::BTreeSet;

/// Which authorities calls may be addressed to.
#[derive(Debug, Clone)]
pub enum AllowedHosts {
    /// These host names, with their ports.
    Names(BTreeSet<String>),
    /// Any. Only for an API that only a gateway can reach. The gateway routes only calls to its own domain, so a
    /// foreign name never gets here.
    BehindGateway,
}

/// The port that is left out of a `Host` header.
const HTTP_PORT: u16 = 80;

impl AllowedHosts {
    /// These names, each with its port unless it is the scheme's own: `api.example.com`, `10.0.0.7:8080`.
    pub fn new(hosts: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self::Names(hosts.into_iter().map(|host| host.as_ref().to_ascii_lowercase()).collect())
    }

    /// The names of this machine for itself.
    pub fn loopback(port: u16) -> Self {
        let names = ["127.0.0.1", "localhost", "[::1]"];
        let bare = names.iter().filter(|_| port == HTTP_PORT).map(|name| (*name).to_owned());
        Self::new(names.iter().map(|name| format!("{name}:{port}")).chain(bare))
    }

    /// These names too.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        match (self, others) {
            (Self::Names(mut names), Self::Names(more)) => {
                names.extend(more);
                Self::Names(names)
            }
            (Self::BehindGateway, _) | (_, Self::BehindGateway) => Self::BehindGateway,
        }
    }

    /// Whether a call may be addressed to these authorities: every place that names one must name an allowed one, and
    /// at least one place must.
    pub(crate) fn allow(&self, addressed: &[&str]) -> bool {
        match self {
            Self::Names(names) => {
                !addressed.is_empty() && addressed.iter().all(|name| names.contains(&name.to_ascii_lowercase()))
            }
            Self::BehindGateway => true,
        }
    }

    /// Whether a page of that origin may call: its origin must be an allowed name. Behind a gateway that is the name in
    /// the call's own address.
    pub(crate) fn allow_origin(&self, origin: &str, addressed: &[&str]) -> bool {
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| match self {
            Self::Names(_) => self.allow(&[authority]),
            Self::BehindGateway => addressed.iter().any(|name| name.eq_ignore_ascii_case(authority)),
        })
    }
}
