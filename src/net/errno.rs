//! Names of operating-system errors, for logs.

use std::io;

use rustix::io::Errno;

/// The symbolic name of an error, as errno(3) has it; `io_error` for those that no socket call returns.
pub fn errno_name(error: &io::Error) -> &'static str {
    let Some(errno) = error.raw_os_error().map(Errno::from_raw_os_error) else { return "io_error" };
    NAMES.iter().find(|(known, _)| *known == errno).map_or("io_error", |(_, name)| name)
}

/// What socket(2), connect(2), accept(2), recv(2), send(2) and splice(2) return.
const NAMES: [(Errno, &str); 24] = [
    (Errno::CONNREFUSED, "ECONNREFUSED"),
    (Errno::CONNRESET, "ECONNRESET"),
    (Errno::CONNABORTED, "ECONNABORTED"),
    (Errno::PIPE, "EPIPE"),
    (Errno::TIMEDOUT, "ETIMEDOUT"),
    (Errno::HOSTUNREACH, "EHOSTUNREACH"),
    (Errno::NETUNREACH, "ENETUNREACH"),
    (Errno::HOSTDOWN, "EHOSTDOWN"),
    (Errno::NETDOWN, "ENETDOWN"),
    (Errno::ADDRNOTAVAIL, "EADDRNOTAVAIL"),
    (Errno::ADDRINUSE, "EADDRINUSE"),
    (Errno::AFNOSUPPORT, "EAFNOSUPPORT"),
    (Errno::MFILE, "EMFILE"),
    (Errno::NFILE, "ENFILE"),
    (Errno::NOMEM, "ENOMEM"),
    (Errno::NOBUFS, "ENOBUFS"),
    (Errno::ACCESS, "EACCES"),
    (Errno::PERM, "EPERM"),
    (Errno::NOENT, "ENOENT"),
    (Errno::NOTCONN, "ENOTCONN"),
    (Errno::AGAIN, "EAGAIN"),
    (Errno::INVAL, "EINVAL"),
    (Errno::PROTO, "EPROTO"),
    (Errno::IO, "EIO"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_has_its_name_and_any_other_one_for_all() {
        assert_eq!(errno_name(&Errno::CONNREFUSED.into()), "ECONNREFUSED");
        assert_eq!(errno_name(&Errno::MFILE.into()), "EMFILE");
        assert_eq!(errno_name(&Errno::XDEV.into()), "io_error");
        assert_eq!(errno_name(&io::ErrorKind::Unsupported.into()), "io_error");
    }
}
