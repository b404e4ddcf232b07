//! What the documents say is tried: their links lead somewhere, their configuration and rules pass `tollgate check`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    unreachable_pub,
    missing_docs
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md"), root().join("CHANGELOG.md"), root().join("rules/README.md")];
    pages.extend(fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    pages
}

/// The texts of the fenced blocks of a language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_link_to_a_file_leads_to_one() {
    let mut broken = Vec::new();
    for path in pages() {
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            if file.is_empty() || link.contains("://") {
                continue;
            }
            if !path.parent().unwrap().join(file).exists() {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn the_configuration_and_the_rule_of_the_readme_work() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("rules")).unwrap();
    fs::write(folder.path().join("config.yaml"), &blocks(&readme, "yaml")[0]).unwrap();
    fs::write(folder.path().join("rules/plans.rhai"), &blocks(&readme, "rhai")[0]).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .arg("check")
        .current_dir(folder.path())
        .env("FUSIONAUTH_CLIENT_ID", "e9fdb985-9173-4e01-9d73-ac2d60d1dc8e")
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}

#[test]
fn the_shipped_configurations_have_no_problem_and_their_rule_tests_pass() {
    let mut folders = vec![root().to_owned()];
    folders.extend(fs::read_dir(root().join("rules/examples")).unwrap().map(|entry| entry.unwrap().path()));
    assert!(folders.len() > 2);
    for folder in folders {
        for arguments in [["check", "--strict"].as_slice(), &["test"]] {
            let output = Command::new(env!("CARGO_BIN_EXE_tollgate")).args(arguments).current_dir(&folder).output().unwrap();
            let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{} {arguments:?}\n{said}", folder.display());
        }
    }
}

#[test]
fn the_readme_names_no_command_that_does_not_exist() {
    let help = Command::new(env!("CARGO_BIN_EXE_tollgate")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for path in pages() {
        let text = fs::read_to_string(&path).unwrap();
        for command in text.split("`tollgate ").skip(1).filter_map(|rest| rest.split(['`', ' ']).next()) {
            assert!(help.contains(&format!("\n  {command} ")), "{}: tollgate {command}", path.display());
        }
    }
}
