//! Which host a command talks to: its address and its token.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs};

use reqwest::Url;
use windlass_host::{TOKEN_FILE, URL_FILE};

use crate::args::Globals;
use crate::failure::{Exit, Failure};
use crate::loopback::is_loopback;
use crate::sign_in::{ClientCredentials, SignIn};

const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// A host's address, and the proof of the caller's identity.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) url: Url,
    pub(crate) credentials: Credentials,
    /// A file of authorities whose certificates count beside those of this system's.
    pub(crate) ca_cert: Option<PathBuf>,
}

/// How the client proves its identity to a host.
#[derive(Clone)]
pub(crate) enum Credentials {
    /// Not at all: no token was found.
    None,
    /// By a token that was given or found.
    Token(String),
    /// By tokens of an issuer.
    SignIn(Arc<SignIn>),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Token(_) => f.write_str("Token(..)"),
            Self::SignIn(sign_in) => sign_in.fmt(f),
        }
    }
}

impl Connection {
    /// By the flags, the environment and the data folder, in this order.
    pub(crate) fn find(globals: &Globals) -> Result<Self, Failure> {
        let client = if globals.token.is_some() { None } else { ClientCredentials::from_env()? };
        Self::find_with(globals, default_data_dir(), client)
    }

    fn find_with(
        globals: &Globals,
        default_data: Option<PathBuf>,
        client: Option<ClientCredentials>,
    ) -> Result<Self, Failure> {
        let folders: Vec<PathBuf> = globals.data.clone().into_iter().chain(default_data).collect();
        if globals.url.is_none()
            && let Some(folder) = &globals.data
        {
            refuse_closed(folder, globals.token.is_some())?;
        }
        // A killed host leaves its files behind. By now, another program may listen on the address in them.
        let hosted = |folder: &&PathBuf| windlass_embedded::has_host(folder);
        let nearest = folders.first().filter(hosted);
        let written = nearest.and_then(|folder| read_line(&folder.join(URL_FILE)));
        if let (None, None, Some(folder)) = (&globals.url, &written, &globals.data) {
            return Err(no_host_at(folder));
        }
        let is_written = written.is_some();
        let text = globals.url.clone().or(written).unwrap_or_else(|| DEFAULT_URL.to_owned());
        let url: Url = text.parse().map_err(|error| Failure::usage(format!("`{text}` is not a URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(Failure::usage(format!("`{text}` is not an http or https URL")));
        }
        let credentials = match (&globals.token, client) {
            (Some(token), _) => Credentials::Token(token.trim().to_owned()),
            (None, Some(client)) => Credentials::SignIn(Arc::new(SignIn::new(client)?)),
            // The client sends the local host's token only to a loopback address, which the host wrote down or the user
            // named.
            (None, None) if is_loopback(&url) && (is_written || globals.url.is_some()) => folders
                .iter()
                .find_map(|folder| read_line(&folder.join(TOKEN_FILE)))
                .map_or(Credentials::None, Credentials::Token),
            (None, None) => Credentials::None,
        };
        Ok(Self { url, credentials, ca_cert: globals.ca_cert.clone() })
    }
}

/// The data folder of a host whose command line names none.
pub(crate) fn default_data_dir() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")))?;
    Some(base.join("windlass"))
}

/// WL0611: the user named a folder of another user, who alone may enter it, or read its token.
fn refuse_closed(folder: &Path, has_token: bool) -> Result<(), Failure> {
    let is_closed =
        |path: PathBuf| fs::File::open(path).is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
    if !is_closed(folder.to_owned()) && (has_token || !is_closed(folder.join(TOKEN_FILE))) {
        return Ok(());
    }
    let help = "run this as the user of its host (sudo -u USER), or give the host's address and token: --url, --token";
    let failure = Failure::file("read the data folder", folder, "this user may not read it").help(help);
    Err(failure)
}

/// WL0601: the user named a folder, and no host has written its address there. Another host would be the wrong one.
fn no_host_at(folder: &Path) -> Failure {
    if windlass_embedded::has_host(folder) {
        let message = format!("the host of {} answers no calls: it ends, or it has only begun", folder.display());
        let help = "a host that ends finishes what runs, for as long as its --drain says; its log tells";
        return Failure::new("WL0601", Exit::Unreachable, message).help(help);
    }
    let message = format!("no host works on the data folder {}", folder.display());
    let help = format!("start one: windlass serve --data {}; or name a host: --url URL", folder.display());
    Failure::new("WL0601", Exit::Unreachable, message).help(help)
}

/// The data folder to work on, absolute: the user's, else the default one.
pub(crate) fn data_dir(globals: &Globals) -> Result<PathBuf, Failure> {
    let Some(folder) = globals.data.clone().or_else(default_data_dir) else {
        return Err(Failure::usage("there is no home folder to keep data in").help("name one: --data DIR"));
    };
    std::path::absolute(&folder).map_err(|error| Failure::file("use", &folder, error))
}

fn read_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("written");
        }
        folder
    }

    /// As a host does that works there.
    fn lock(folder: &tempfile::TempDir) -> std::fs::File {
        let file = std::fs::File::create(folder.path().join("host.lock")).expect("made");
        file.lock().expect("locked");
        file
    }

    fn find(globals: &Globals, default: &tempfile::TempDir) -> (String, Option<String>) {
        let found = Connection::find_with(globals, Some(default.path().to_owned()), None).expect("found");
        let token = match found.credentials {
            Credentials::Token(token) => Some(token),
            Credentials::None | Credentials::SignIn(_) => None,
        };
        (found.url.to_string(), token)
    }

    #[test]
    fn the_data_folder_knows_address_and_token() {
        let default = folder_with(&[(TOKEN_FILE, "default-token\n")]);
        let data = folder_with(&[(TOKEN_FILE, "a-token\n"), (URL_FILE, "http://127.0.0.1:4711\n")]);
        let named = Globals { data: Some(data.path().to_owned()), ..Globals::default() };
        let (_host, _other) = (lock(&data), lock(&default));
        assert_eq!(find(&named, &default), ("http://127.0.0.1:4711/".into(), Some("a-token".into())));
        let nothing = Globals::default();
        assert_eq!(find(&nothing, &default), ("http://127.0.0.1:8080/".into(), None));
        let flags = Globals { url: Some("http://localhost:1".into()), token: Some("t".into()), ..named };
        assert_eq!(find(&flags, &default), ("http://localhost:1/".into(), Some("t".into())));
    }

    #[test]
    fn files_of_a_killed_host_are_ignored() {
        let left = folder_with(&[(TOKEN_FILE, "secret"), (URL_FILE, "http://127.0.0.1:4711")]);
        assert_eq!(find(&Globals::default(), &left), ("http://127.0.0.1:8080/".into(), None));
        let named = Globals { data: Some(left.path().to_owned()), ..Globals::default() };
        let refused = Connection::find_with(&named, None, None).expect_err("none");
        assert!(refused.to_string().starts_with("no host works on the data folder"), "{refused}");
        let _host = lock(&left);
        assert_eq!(find(&named, &left), ("http://127.0.0.1:4711/".into(), Some("secret".into())));
    }

    #[test]
    fn host_that_drains_is_told_from_none() {
        let data = folder_with(&[(TOKEN_FILE, "secret")]);
        let _host = lock(&data);
        let named = Globals { data: Some(data.path().to_owned()), ..Globals::default() };
        let refused = Connection::find_with(&named, None, None).expect_err("none");
        assert!(refused.to_string().contains("answers no calls: it ends"), "{refused}");
    }

    #[test]
    fn only_the_named_host_is_called() {
        let default = folder_with(&[(TOKEN_FILE, "secret"), (URL_FILE, "http://127.0.0.1:4711")]);
        let elsewhere = Globals { data: Some(folder_with(&[]).path().to_owned()), ..Globals::default() };
        let refused = Connection::find_with(&elsewhere, Some(default.path().to_owned()), None).expect_err("none");
        assert!(refused.to_string().starts_with("no host works on the data folder"), "{refused}");
    }

    #[test]
    fn the_local_token_stays_on_this_machine() {
        let default = folder_with(&[(TOKEN_FILE, "secret")]);
        let far = Globals { url: Some("https://example.org".into()), ..Globals::default() };
        assert_eq!(find(&far, &default).1, None);
        let v6 = Globals { url: Some("http://[::1]:8080".into()), ..Globals::default() };
        assert_eq!(find(&v6, &default).1, Some("secret".into()));
    }
}
