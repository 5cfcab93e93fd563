//! `windlass explain`: the page of an error code, which this program carries.

use std::process::ExitCode;

use serde_json::json;

use crate::args::{ExplainArgs, Globals};
use crate::failure::Failure;
use crate::render::{self, Ended};

// `PAGES`: each code and its page in `docs/errors`, by code. `build.rs` writes it.
include!(concat!(env!("OUT_DIR"), "/pages.rs"));

pub(super) fn run(globals: &Globals, args: &ExplainArgs) -> Ended {
    let Some((code, page)) = find(&args.code) else {
        let known = "a code stands in brackets in the message, such as WL0104";
        return Err(Failure::usage(format!("no error has the code `{}`", args.code)).help(known));
    };
    if globals.json {
        render::print_json(&json!({ "code": code, "page": page }));
    } else {
        render::print(page);
    }
    Ok(ExitCode::SUCCESS)
}

/// The page of a code, in upper or lower case, with brackets or without.
fn find(code: &str) -> Option<(&'static str, &'static str)> {
    let code = code.trim_matches(['[', ']']).to_ascii_uppercase();
    let at = PAGES.binary_search_by_key(&code.as_str(), |(code, _)| code).ok()?;
    Some(PAGES[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_is_found_by_its_code() {
        assert!(PAGES.len() > 100);
        for (code, page) in PAGES {
            assert_eq!(find(code), Some((*code, *page)));
            assert!(page.starts_with(&format!("# {code}: ")), "{page}");
        }
        assert_eq!(find("[wl0104]").map(|(code, _)| code), Some("WL0104"));
        assert_eq!(find("WL9999"), None);
    }
}
