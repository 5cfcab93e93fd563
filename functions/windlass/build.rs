//! Writes the table of the pages in `docs/errors`, which `windlass explain` carries.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

fn main() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
    println!("cargo::rerun-if-changed={}", pages.display());
    let entries = fs::read_dir(&pages).expect("docs/errors is part of the sources");
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.strip_suffix(".md").map(str::to_owned))
        .collect();
    names.retain(|name| name.starts_with("WL"));
    names.sort();
    let mut table = String::from("const PAGES: &[(&str, &str)] = &[\n");
    for name in names {
        let page = pages.join(format!("{name}.md"));
        let page = page.to_str().expect("the sources lie at a path of Unicode");
        writeln!(table, "    ({name:?}, include_str!({page:?})),").expect("a text takes everything");
    }
    table.push_str("];\n");
    let out = env::var_os("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&out).join("pages.rs"), table).expect("cargo's folder can be written");
}
