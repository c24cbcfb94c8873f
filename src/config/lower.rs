//! Lowers what was written to a valid [`Config`], and reports every mistake at once.

use std::path::Path;
use std::sync::Arc;

use super::keys::{
    clients, control, https, limits, listen, online, process, tls, tokens, traces, upstreams, websockets,
};
use super::layers::Layers;
use super::meaning::{Config, Jwt, Sizes, Timeouts};
use super::mistake::Mistakes;
use super::routes;
use super::stray::stray_names;
use super::written::Written;

/// A valid configuration and its warnings.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// The configuration.
    pub config: Config,
    /// What is allowed and probably not meant, one line each. No secrets.
    pub warnings: Vec<String>,
}

/// The configuration of this process: flags and environment (`args`, as clap read them) over `CONFIG_FILE`, over
/// the defaults.
///
/// `check` returns the mistakes of a configuration that is valid by its form, as `KEY: what`.
///
/// # Errors
/// All mistakes at once.
pub fn load(args: Written, check: impl FnOnce(&Config) -> Vec<String>) -> Result<Lowered, Mistakes> {
    load_over(args, |_| Written::default(), check)
}

/// Like [`load`], with other defaults, for subcommands that bring their own.
///
/// `defaults` gets what was written, so that a default may depend on a setting. What was written wins.
///
/// # Errors
/// As [`load`].
pub fn load_over(
    args: Written,
    defaults: impl FnOnce(&Written) -> Written,
    check: impl FnOnce(&Config) -> Vec<String>,
) -> Result<Lowered, Mistakes> {
    let Judged { lowered, mistakes } = judge(args, defaults, check);
    mistakes.none_or(lowered)
}

/// What was written, as far as it can be judged.
pub struct Judged {
    /// Without mistakes, the configuration. With mistakes, what is right of it, and defaults for the settings that are
    /// wrong; routes, upstreams and issuers that are wrong are left out.
    pub lowered: Lowered,
    /// Every mistake.
    pub mistakes: Mistakes,
}

/// Like [`load_over`], for what judges a configuration in spite of its mistakes.
pub fn judge(
    args: Written,
    defaults: impl FnOnce(&Written) -> Written,
    check: impl FnOnce(&Config) -> Vec<String>,
) -> Judged {
    let (mut mistakes, mut warnings) = (Mistakes::default(), Vec::new());
    let file = match args.get(&process::CONFIG_FILE).map(|text| process::CONFIG_FILE.read(text)) {
        None => Written::default(),
        Some(Ok(path)) => Written::from_file(Path::new(&path), &mut mistakes, &mut warnings),
        Some(Err(why)) => {
            mistakes.add(process::CONFIG_FILE.env, &why);
            Written::default()
        }
    };
    let defaults = defaults(&args.clone().or(file.clone()));
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let strays = stray_names(names);
    warnings.extend(strays.iter().cloned());
    let mut layers = Layers { written: [args, file, defaults], mistakes, warnings };
    let mut config = config(&mut layers);
    // What is judged of several routes together would be untrue with a harmless value in place of a wrong one.
    config.routes.retain(|route| !layers.mistakes.are_of("route", &route.name));
    for mistake in check(&config) {
        let (subject, what) = mistake.split_once(": ").unwrap_or(("routes", &mistake));
        layers.mistakes.add(subject, what);
    }
    // `JWT_SECRET: is missing` tells only half if `JWT_SECERT` is set.
    if layers.mistakes.count() > 0 {
        let strays = strays.iter().filter_map(|warning| warning.split_once(": "));
        strays.for_each(|(name, what)| layers.mistakes.add(name, what));
    }
    Judged { lowered: Lowered { config, warnings: layers.warnings }, mistakes: layers.mistakes }
}

/// The meaning of `args` (flags and environment) over `file`, over the defaults. It reads the files that hold
/// secrets and nothing else.
///
/// # Errors
/// All mistakes at once.
pub fn lower(args: Written, file: Written) -> Result<Lowered, Mistakes> {
    lower_beside(Mistakes::default(), args, file)
}

/// The same beside mistakes that are known.
pub(super) fn lower_beside(mistakes: Mistakes, args: Written, file: Written) -> Result<Lowered, Mistakes> {
    let written = [args, file, Written::default()];
    let mut layers = Layers { written, mistakes, warnings: Vec::new() };
    let config = config(&mut layers);
    layers.mistakes.none_or(Lowered { config, warnings: layers.warnings })
}

/// Reads every setting. The order is the order of the mistakes.
fn config(layers: &mut Layers) -> Config {
    let sizes = sizes(layers);
    let rate_limit = limits::rate_limit(layers);
    let jwt = tokens::jwt(layers);
    let websocket = websockets::websocket(layers);
    let redis = limits::redis(layers);
    let control = control::control(layers, &jwt.issuers, &redis);
    let control_stream = control.stream.clone();
    let empty_segments = layers.value(&clients::EMPTY_SEGMENTS);
    let known = (&jwt.issuers[..], &websocket.origins, empty_segments);
    let (upstreams, mut routes) = routes::upstreams_and_routes(layers, &rate_limit, known);
    let ready_requires = upstreams::ready_requires(layers, &upstreams);
    let trusted_proxies = listen::trusted_proxies(layers);
    let (listen, admin_addr) = listen::listeners(layers);
    let tls = tls::tls(layers, &listen, admin_addr);
    let https = https::https(layers, &tls);
    let proxy_protocol = tls::proxy_protocol(layers, &trusted_proxies, tls.proxy_protocol);
    let claims = routes::wanted_claims(layers, &mut routes);
    let token_sources = routes::all_token_sources(layers, &routes);
    let jwt = Jwt { claims, ..jwt };
    Config {
        listen,
        admin_addr,
        tls,
        https,
        admin_hosts: layers.value(&listen::ADMIN_HOSTS),
        admin_token: listen::admin_token(layers),
        cores: layers.value(&process::CORES),
        memory_budget: layers.option(&process::MEMORY_BUDGET),
        connections_max: layers.option(&process::MAX_CONNECTIONS),
        connections_per_address_max: layers.option(&clients::MAX_CONNECTIONS_PER_ADDRESS),
        io_driver: process::driver(layers),
        jwt,
        rate_limit,
        redis,
        upstreams,
        routes,
        token_sources,
        trusted_proxies,
        proxy_protocol,
        empty_segments,
        client_half_close: layers.value(&clients::CLIENT_HALF_CLOSE),
        h2c: layers.value(&listen::H2C),
        via: layers.value(&upstreams::VIA),
        cors: layers.value(&listen::CORS_ALLOWED_ORIGINS),
        websocket: Arc::new(websocket),
        control,
        online: online::online(layers, control_stream.as_deref()),
        timeouts: timeouts(layers),
        sizes,
        ready_requires,
        dns_server: layers.option(&upstreams::DNS_SERVER),
        access_log: layers.value(&process::ACCESS_LOG),
        traces: traces::traces(layers),
        access_log_sample: layers.value(&process::ACCESS_LOG_SAMPLE),
        log_format: layers.value(&process::LOG_FORMAT),
        pid_file: layers.option(&process::PID_FILE),
    }
}

fn timeouts(layers: &mut Layers) -> Timeouts {
    Timeouts {
        request_head: layers.value(&clients::REQUEST_HEAD_TIMEOUT),
        keep_alive: layers.value(&clients::KEEP_ALIVE_TIMEOUT),
        body: layers.value(&clients::BODY_TIMEOUT),
        upstream_connect: layers.value(&upstreams::UPSTREAM_CONNECT_TIMEOUT),
        upstream_head: layers.value(&upstreams::UPSTREAM_HEAD_TIMEOUT),
        upstream_idle: layers.value(&upstreams::UPSTREAM_IDLE_TIMEOUT),
        upstream_keep_alive: layers.value(&upstreams::UPSTREAM_KEEP_ALIVE),
        upstream_connection_age: layers.value(&upstreams::UPSTREAM_CONNECTION_AGE),
        dns_refresh: layers.value(&upstreams::DNS_REFRESH),
        shutdown_delay: layers.value(&process::SHUTDOWN_DELAY),
        shutdown: layers.value(&process::SHUTDOWN_TIMEOUT),
        upgrade: layers.value(&process::UPGRADE_TIMEOUT),
        upgrade_tunnels: layers.value(&process::UPGRADE_TUNNELS_TIMEOUT),
    }
}

fn sizes(layers: &mut Layers) -> Sizes {
    let (head_bytes, request_line_bytes) = clients::head_sizes(layers);
    Sizes {
        head_bytes,
        request_line_bytes,
        fields: layers.value(&clients::HEAD_MAX_FIELDS),
        upstream_fields: layers.option(&upstreams::UPSTREAM_HEAD_MAX_FIELDS),
        body_bytes: layers.value(&clients::BODY_MAX_BYTES),
        body_rate_min: layers.value(&clients::BODY_MIN_RATE),
        requests_per_address: layers.option(&clients::MAX_REQUESTS_PER_ADDRESS),
        upstream_idle: layers.value(&upstreams::UPSTREAM_IDLE_CONNECTIONS),
        upstream_connection_requests: layers.value(&upstreams::UPSTREAM_CONNECTION_REQUESTS) as u32,
        upstream_in_flight: layers.value(&upstreams::UPSTREAM_MAX_IN_FLIGHT),
    }
}
