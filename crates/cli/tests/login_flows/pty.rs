//! A terminal with a person at it: what they see, what they type, and how the terminal is left.

use crate::stage::Stage;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Child;

pub(crate) struct Terminal {
    master: File,
    /// Held open, so that the terminal's settings can be looked at after the program has ended.
    slave: OwnedFd,
    child: Child,
    seen: String,
}

impl Terminal {
    /// The binary in a terminal of its own, which is its controlling one.
    pub(crate) fn start(stage: &Stage, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = stage.command(arguments);
        command.envs(environment.iter().copied());
        Self::with(command)
    }

    /// A shell in a terminal of its own, in which `$0` is the binary.
    pub(crate) fn shell(stage: &Stage, script: &str) -> Self {
        let binary = stage.command(&[]);
        let mut command = std::process::Command::new("/bin/sh");
        command.args(["-c", script]).arg(binary.get_program()).env_clear();
        command.envs(binary.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self::with(command)
    }

    fn with(mut command: std::process::Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave.try_clone().unwrap());
        let own = slave.try_clone().unwrap();
        let take_terminal = move || {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(&own)?;
            Ok(())
        };
        #[expect(unsafe_code, reason = "only the child itself can take a controlling terminal; both calls are safe after a fork")]
        // SAFETY: two system calls, which neither allocate nor lock.
        unsafe {
            command.pre_exec(take_terminal);
        }
        let child = command.spawn().unwrap();
        Self { master: File::from(master), slave, child, seen: String::new() }
    }

    /// Reads until this is on the screen.
    #[track_caller]
    pub(crate) fn sees(&mut self, text: &str) -> &str {
        let mut piece = [0; 4096];
        while !self.seen.contains(text) {
            match self.master.read(&mut piece) {
                Ok(read) if read > 0 => self.seen.push_str(&String::from_utf8_lossy(&piece[..read])),
                _ => panic!("{text:?} never came:\n{}", self.seen),
            }
        }
        &self.seen
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Whether the terminal shows what is typed.
    pub(crate) fn echoes(&self) -> bool {
        tcgetattr(&self.slave).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    /// Waits for the end: the exit code and all that was on the screen, and whether the terminal is as it was.
    pub(crate) fn end(mut self) -> (i32, String, bool) {
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        let echoes = self.echoes();
        drop(self.slave);
        let mut rest = Vec::new();
        // A terminal whose other side is gone is an error to read on Linux, after all that it held.
        drop(self.master.read_to_end(&mut rest));
        self.seen.push_str(&String::from_utf8_lossy(&rest));
        (code, self.seen, echoes)
    }
}
