//! What is said to Redis, and what it answers.

use std::hint::black_box;

use realchat_gateway::limit::SCRIPT;
use realchat_gateway::limits::REDIS_INTEGERS_MAX;
use realchat_gateway::redis::reply;
use realchat_gateway::redis::script::Script;

use crate::Step;

/// A call of the script on one bucket.
pub fn pack_call() -> Step {
    let (script, mut out) = (Script::new(SCRIPT), Vec::with_capacity(1024));
    Box::new(move || {
        out.clear();
        script.pack_call(
            &[black_box(b"rl:u:alice")],
            black_box(&[10_000, 2_000_000_000, 1_000_000]),
            &mut out,
        );
        black_box(&out);
    })
}

/// The script's answer.
pub fn reply() -> Step {
    let mut integers = [0; REDIS_INTEGERS_MAX];
    Box::new(move || {
        let bytes: &[u8] = black_box(b"*5\r\n:1\r\n:0\r\n:19\r\n:0\r\n:100000\r\n");
        let (length, _) = reply::next(bytes, &mut integers).expect("a reply").expect("all of it");
        assert_eq!(length, bytes.len());
        black_box(&integers);
    })
}
