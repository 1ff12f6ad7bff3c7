//! The memory of every process that opens a vault: no core dump, and closed to other processes of the same user.
//!
//! Root reads any memory, so that as root both sides run as an unprivileged user, by `setpriv`.

use crate::stage::Stage;
use claviger_simulator::Rotation;
use claviger_testkit::proof_row;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const CHECK: &str = "memory: closed to the same user, core dumps off";

/// Nobody: a user without a name, whom nothing else belongs to.
const NOBODY: u32 = 61_184;

/// A user without privileges, as whom both the program and who attacks it run.
struct Unprivileged {
    /// The user to change to; `None` where this process is unprivileged itself.
    change_to: Option<u32>,
}

impl Unprivileged {
    /// `None` as root without `setpriv`.
    fn find() -> Option<Self> {
        if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
            return Some(Self { change_to: None });
        }
        let probe = Command::new("setpriv").args(["--reuid", "1", "--regid", "1", "--clear-groups", "true"]).status();
        probe.is_ok_and(|status| status.success()).then_some(Self { change_to: Some(NOBODY) })
    }

    fn command(&self, program: &Path) -> Command {
        let Some(user) = self.change_to else { return Command::new(program) };
        let mut command = Command::new("setpriv");
        let user = user.to_string();
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(program);
        command
    }

    /// Gives a folder with all that is in it to this user.
    fn own(&self, folder: &Path) {
        let Some(user) = self.change_to else { return };
        chown(folder, Some(user), Some(user)).unwrap();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.own(&path);
            } else if !path.is_symlink() {
                chown(&path, Some(user), Some(user)).unwrap();
            }
        }
    }

    fn succeeds(&self, program: &str, arguments: &[&str]) -> bool {
        let mut command = self.command(Path::new(program));
        let quiet = command.args(arguments).current_dir("/tmp").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
    }

    /// The ways that lead into the memory of this process.
    fn ways_into(&self, pid: u32, scratch: &Path) -> Vec<&'static str> {
        const PTRACE: &str = "import ctypes,sys; sys.exit(0 if ctypes.CDLL(None).ptrace(16, int(sys.argv[1]), 0, 0) == 0 else 1)";
        let (pid, core) = (pid.to_string(), scratch.join("core").display().to_string());
        let read = |file: &str| self.succeeds("/bin/dd", &[&format!("if=/proc/{pid}/{file}"), "of=/dev/null", "bs=1", "count=0"]);
        let ways = [
            ("mem", read("mem")),
            ("environ", read("environ") && self.succeeds("/bin/cat", &[&format!("/proc/{pid}/environ")])),
            ("gcore", self.succeeds("/usr/bin/gcore", &["-o", &core, &pid])),
            ("ptrace", self.succeeds("/usr/bin/python3", &["-c", PTRACE, &pid])),
        ];
        ways.into_iter().filter_map(|(way, works)| works.then_some(way)).collect()
    }
}

/// A process that is killed when it goes.
struct Watched(Child);

impl Drop for Watched {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_of_the_same_user_reads_the_memory_of_a_command_that_opens_a_vault() {
    let Some(user) = Unprivileged::find() else {
        return proof_row(CHECK, 0, 0, "not run: this is root, and there is no setpriv to become somebody else");
    };
    let stage = Stage::new(Rotation::Strict).await;
    let scratch = stage.path("scratch");
    std::fs::create_dir(&scratch).unwrap();
    user.own(stage.path("").as_path());
    let binary = program(&stage);

    // The control: what is tried here works on a process that does not close its memory.
    let open = Watched(user.command(Path::new("/bin/sleep")).arg("600").spawn().unwrap());
    let pid = settled(&open, "sleep");
    let ways = user.ways_into(pid, &scratch);
    assert!(ways.contains(&"mem") || ways.contains(&"environ"), "nothing leads into an open process: this test would find nothing");
    drop(open);

    // A server, and a command that waits for its secret, as every prompt does.
    let mut checked = 0;
    let commands: [(&[&str], bool); 3] = [
        (&["serve", "--listen", "127.0.0.1:0"], true),
        (&["login", "openai", "--with-key"], false),
        (&["login", "anthropic", "--with-key", "--json"], false),
    ];
    for (arguments, says_ready) in commands {
        let mut command = user.command(&binary);
        for (name, value) in stage.command(&[]).get_envs() {
            command.env(name, value.unwrap());
        }
        let command = command.args(arguments).env("CLAVIGER_CANARY", "canary-environment-000").stdin(Stdio::piped());
        let mut process = Watched(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
        if says_ready {
            let mut line = String::new();
            BufReader::new(process.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            assert!(line.contains("http://"), "{arguments:?} says {line:?}");
        }
        let pid = settled(&process, "claviger");
        assert_eq!(core_limit(pid), "0 0", "{arguments:?}");
        assert_eq!(user.ways_into(pid, &scratch), [] as [&str; 0], "{arguments:?}");
        checked += 1;
        // Still there: it was not the end of the process that kept it closed.
        assert!(process.0.try_wait().unwrap().is_none(), "{arguments:?} has ended");
        drop(process.0.stdin.as_mut().unwrap().write_all(b""));
    }
    proof_row(CHECK, checked, checked, &format!("0 ways in, of {} that lead into an open process", ways.join(", ")));
}

/// The binary where everybody can run it: what is built may lie in a folder of root's.
fn program(stage: &Stage) -> PathBuf {
    let copy = stage.path("claviger");
    let built = stage.command(&[]).get_program().to_owned();
    if std::fs::hard_link(&built, &copy).is_err() {
        std::fs::copy(&built, &copy).unwrap();
    }
    copy
}

/// The id of a process once it is this program and waits for something: until then it is still on its way there.
fn settled(process: &Watched, name: &str) -> u32 {
    let pid = process.0.id();
    for _turn in 0..1_000_000 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let named = status.lines().next().is_some_and(|line| line.ends_with(name));
        if named && status.lines().any(|line| line.starts_with("State:\tS")) && core_limit_or_open(pid, name) {
            return pid;
        }
        std::thread::yield_now();
    }
    panic!("{name} does not come to rest");
}

/// Whether the limit is set, where one is expected: a sleeping dynamic loader is no rest.
fn core_limit_or_open(pid: u32, name: &str) -> bool {
    name == "sleep" || core_limit(pid) == "0 0"
}

fn core_limit(pid: u32) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
