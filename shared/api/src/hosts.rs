//! The names that the API may be reached by. A web page that makes its own name point here (DNS rebinding) sends that
//! name in `Host`, and any page sends its own in `Origin`: both are refused.

use std::collections::BTreeSet;

/// Host names, with their ports, that calls may be addressed to.
#[derive(Debug, Clone, Default)]
pub struct AllowedHosts(BTreeSet<String>);

/// The port that is left out of a `Host` header.
const HTTP_PORT: u16 = 80;

impl AllowedHosts {
    /// These names, each with its port unless it is the scheme's own: `api.example.com`, `10.0.0.7:8080`.
    pub fn new(hosts: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self(hosts.into_iter().map(|host| host.as_ref().to_ascii_lowercase()).collect())
    }

    /// The names of this machine for itself.
    pub fn loopback(port: u16) -> Self {
        let names = ["127.0.0.1", "localhost", "[::1]"];
        let bare = names.iter().filter(|_| port == HTTP_PORT).map(|name| (*name).to_owned());
        Self::new(names.iter().map(|name| format!("{name}:{port}")).chain(bare))
    }

    /// These names too.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Whether a call may be addressed to that authority.
    pub(crate) fn allows(&self, authority: &str) -> bool {
        self.0.contains(&authority.to_ascii_lowercase())
    }

    /// Whether a page of that origin may call: only one that was served from an allowed name.
    pub(crate) fn allows_origin(&self, origin: &str) -> bool {
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| self.allows(authority))
    }
}
