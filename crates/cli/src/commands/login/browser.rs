//! Opens a page in the person's browser.

use crate::env::Env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Opens a page: by `$BROWSER` where it is set, else by the system's own opener. It is not waited for.
pub fn open(env: &Env, url: &str) -> io::Result<()> {
    let chosen = env.lookup("BROWSER").and_then(|list| list.split(':').next().map(str::to_owned)).filter(|program| !program.is_empty());
    let program = chosen.unwrap_or_else(|| if cfg!(target_os = "macos") { "open" } else { "xdg-open" }.to_owned());
    // An argument of its own and no shell: a page's address is text from elsewhere. A process group of its own: what gives the
    // login up in this terminal must not end a browser that was started for it.
    let mut command = Command::new(program);
    command.arg(url).process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(drop)
}
