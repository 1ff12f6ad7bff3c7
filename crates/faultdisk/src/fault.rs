//! Which fault is on, as the control file says.
//!
//! Its words, apart by spaces:
//! - `full` or `full:TEXT`: ENOSPC for what appears or grows; with a text, for every write to a path that ends with it.
//! - `readonly`: EROFS for every change.
//! - `eio` or `eio:TEXT`: EIO for writes and syncs, with a text for those on a path that contains it.
//! - `kill`: the process ends before the change.
//! - `after:N`: the fault begins after N more changes. `once`: it hits one change and is over.
//!
//! A file that is absent or empty is no fault. When the text changes, counting begins anew.

use crate::kernel;
use crate::record::Change;
use libc::c_int;

/// Most bytes of the control file.
const CONTROL_MAX_BYTES: usize = 256;

/// What becomes of a change.
pub(crate) enum Verdict {
    Pass,
    Fail(c_int),
    Die,
}

#[derive(Clone)]
enum Kind {
    Full(Option<String>),
    ReadOnly,
    Eio(Option<String>),
    Kill,
}

/// The control file as it was read last, and how many changes were made since it says so.
pub(crate) struct Fault {
    control: Option<String>,
    text: String,
    kinds: Vec<Kind>,
    after: u64,
    once: bool,
    seen: u64,
}

impl Fault {
    pub(crate) fn new(control: Option<String>) -> Self {
        Self { control, text: String::new(), kinds: Vec::new(), after: 0, once: false, seen: 0 }
    }

    /// What becomes of a change, which is counted by this.
    pub(crate) fn verdict(&mut self, change: Change<'_>) -> Verdict {
        self.read();
        // To open what is there changes nothing and does not count, but a disk may refuse it all the same.
        let counts = !matches!(change, Change::Open { creates: false, .. });
        let begun = self.seen >= self.after;
        let over = self.once && (self.seen > self.after || !counts);
        self.seen += u64::from(counts);
        if !begun || over {
            return Verdict::Pass;
        }
        self.kinds.iter().map(|kind| kind.verdict(change)).find(|verdict| !matches!(verdict, Verdict::Pass)).unwrap_or(Verdict::Pass)
    }

    fn read(&mut self) {
        let text = self.control.as_deref().map(control_text).unwrap_or_default();
        if text == self.text {
            return;
        }
        (self.kinds, self.after, self.once, self.seen) = (Vec::new(), 0, false, 0);
        for word in text.split_whitespace() {
            let (name, part) = word.split_once(':').map_or((word, None), |(name, part)| (name, Some(part.to_owned())));
            match name {
                "full" => self.kinds.push(Kind::Full(part)),
                "readonly" => self.kinds.push(Kind::ReadOnly),
                "eio" => self.kinds.push(Kind::Eio(part)),
                "kill" => self.kinds.push(Kind::Kill),
                "after" => self.after = part.and_then(|count| count.parse().ok()).unwrap_or(0),
                "once" => self.once = true,
                // A word that is not known must not look like a fault that was survived.
                _ => kernel::die(),
            }
        }
        self.text = text;
    }
}

impl Kind {
    fn verdict(&self, change: Change<'_>) -> Verdict {
        let fails = |fails: bool, errno| if fails { Verdict::Fail(errno) } else { Verdict::Pass };
        match (self, change) {
            // To open what is there changes nothing; what is synced was taken before the file system became read-only.
            (Self::Kill, Change::Open { creates: false, .. }) | (Self::ReadOnly, Change::Sync { .. }) => Verdict::Pass,
            (Self::Kill, _) => Verdict::Die,
            (Self::ReadOnly, _) => Verdict::Fail(libc::EROFS),
            (Self::Full(None), Change::Write { grows, .. }) => fails(grows, libc::ENOSPC),
            (Self::Full(None), Change::Open { creates, .. } | Change::Entry { creates, .. }) => fails(creates, libc::ENOSPC),
            (Self::Full(Some(end)), Change::Write { path, .. }) => fails(path.ends_with(end), libc::ENOSPC),
            (Self::Full(Some(end)), Change::Open { path, creates } | Change::Entry { path, creates }) => {
                fails(creates && path.ends_with(end), libc::ENOSPC)
            }
            (Self::Eio(part), Change::Write { path, .. } | Change::Sync { path }) => {
                fails(part.as_ref().is_none_or(|part| path.contains(part)), libc::EIO)
            }
            _ => Verdict::Pass,
        }
    }
}

fn control_text(path: &str) -> String {
    let mut bytes = vec![0; CONTROL_MAX_BYTES];
    let Some(fd) = kernel::open_own(path, libc::O_RDONLY) else { return String::new() };
    let length = kernel::read(fd, &mut bytes);
    kernel::close(fd);
    bytes.truncate(length);
    String::from_utf8_lossy(&bytes).trim().to_owned()
}
