//! Routes for tests.

use crate::config::meaning::Route;
use crate::config::testing::lowered_toml;

/// A route with a name, a path, an upstream and these keys.
pub(super) fn lowered_route(keys: &str) -> Route {
    let lowered = lowered_toml(&format!("{SHOP}{keys}")).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    lowered.config.routes[0].clone()
}

/// The mistakes of a route with a name, a path, an upstream and these keys.
pub(super) fn mistake(keys: &str) -> String {
    lowered_toml(&format!("{SHOP}{keys}")).expect_err(keys).to_string()
}

const SHOP: &str =
    "[upstreams.a]\nurl = 'http://a'\n[[route]]\nname = 'shop'\npaths = ['/shop']\nupstream = 'a'\n";
