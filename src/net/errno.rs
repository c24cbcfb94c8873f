//! Names of operating-system errors, for logs: `ECONNREFUSED`, `EMFILE` and so on.

use std::io;

use rustix::io::Errno;

/// The name of an error that socket(2), connect(2), accept(2), send(2) or recv(2) may return. For any other error
/// number it is `errno`, and for an error without a number a word for its kind.
pub fn errno_name(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(errno) => NAMES.iter().find(|(known, _)| *known == errno).map_or("errno", |(_, name)| name),
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof => "unexpected_eof",
            io::ErrorKind::WriteZero => "write_zero",
            io::ErrorKind::TimedOut => "timed_out",
            io::ErrorKind::InvalidData => "tls_error",
            _ => "io_error",
        },
    }
}

/// The error numbers by name (errno(3)).
const NAMES: [(Errno, &str); 42] = [
    (Errno::ACCESS, "EACCES"),
    (Errno::ADDRINUSE, "EADDRINUSE"),
    (Errno::ADDRNOTAVAIL, "EADDRNOTAVAIL"),
    (Errno::AFNOSUPPORT, "EAFNOSUPPORT"),
    (Errno::AGAIN, "EAGAIN"),
    (Errno::ALREADY, "EALREADY"),
    (Errno::BADF, "EBADF"),
    (Errno::CONNABORTED, "ECONNABORTED"),
    (Errno::CONNREFUSED, "ECONNREFUSED"),
    (Errno::CONNRESET, "ECONNRESET"),
    (Errno::DESTADDRREQ, "EDESTADDRREQ"),
    (Errno::HOSTDOWN, "EHOSTDOWN"),
    (Errno::HOSTUNREACH, "EHOSTUNREACH"),
    (Errno::INPROGRESS, "EINPROGRESS"),
    (Errno::INTR, "EINTR"),
    (Errno::INVAL, "EINVAL"),
    (Errno::IO, "EIO"),
    (Errno::ISCONN, "EISCONN"),
    (Errno::LOOP, "ELOOP"),
    (Errno::MFILE, "EMFILE"),
    (Errno::MSGSIZE, "EMSGSIZE"),
    (Errno::NAMETOOLONG, "ENAMETOOLONG"),
    (Errno::NETDOWN, "ENETDOWN"),
    (Errno::NETRESET, "ENETRESET"),
    (Errno::NETUNREACH, "ENETUNREACH"),
    (Errno::NFILE, "ENFILE"),
    (Errno::NOBUFS, "ENOBUFS"),
    (Errno::NODEV, "ENODEV"),
    (Errno::NOENT, "ENOENT"),
    (Errno::NOMEM, "ENOMEM"),
    (Errno::NOPROTOOPT, "ENOPROTOOPT"),
    (Errno::NOTCONN, "ENOTCONN"),
    (Errno::NOTDIR, "ENOTDIR"),
    (Errno::NOTSOCK, "ENOTSOCK"),
    (Errno::OPNOTSUPP, "EOPNOTSUPP"),
    (Errno::PERM, "EPERM"),
    (Errno::PIPE, "EPIPE"),
    (Errno::PROTO, "EPROTO"),
    (Errno::PROTONOSUPPORT, "EPROTONOSUPPORT"),
    (Errno::PROTOTYPE, "EPROTOTYPE"),
    (Errno::SHUTDOWN, "ESHUTDOWN"),
    (Errno::TIMEDOUT, "ETIMEDOUT"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_has_its_name_and_any_other_one_a_word() {
        for (errno, name) in [
            (Errno::CONNREFUSED, "ECONNREFUSED"),
            (Errno::CONNRESET, "ECONNRESET"),
            (Errno::MFILE, "EMFILE"),
            (Errno::TIMEDOUT, "ETIMEDOUT"),
            (Errno::HOSTUNREACH, "EHOSTUNREACH"),
            (Errno::XDEV, "errno"),
        ] {
            assert_eq!(errno_name(&errno.into()), name);
        }
        assert_eq!(errno_name(&io::ErrorKind::WriteZero.into()), "write_zero");
        assert_eq!(errno_name(&io::Error::other("x")), "io_error");
        let refused = std::net::TcpStream::connect(("127.0.0.1", 1)).expect_err("nothing listens there");
        assert_eq!(errno_name(&refused), "ECONNREFUSED");
    }

    #[test]
    fn no_error_number_has_two_names() {
        for (nth, (errno, name)) in NAMES.iter().enumerate() {
            assert!(NAMES[..nth].iter().all(|(other, _)| other != errno), "{name}");
        }
    }
}
