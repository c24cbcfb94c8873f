//! The pipeline: the steps of a request in their order. Each step's evidence is the next step's argument.

use crate::config::RouteKind;
use crate::gateway::answer::failure::Failure;
use crate::gateway::answer::{local, reply, routed};
use crate::gateway::exchange::{Exchange, ExchangeOutcome};
use crate::gateway::forward::forward;
use crate::gateway::plan::Plan;
use crate::gateway::websocket::upgrade::upgrade;
use crate::limit::Denied;

/// Serves a request: with the upstream's response, or with the answer for its failure.
pub async fn serve(exchange: &mut Exchange<'_>) -> ExchangeOutcome {
    match steps(exchange).await {
        Ok(outcome) => outcome,
        Err(failure) => reply::refuse(exchange, failure).await,
    }
}

async fn steps(exchange: &mut Exchange<'_>) -> Result<ExchangeOutcome, Failure> {
    let snapshot = &exchange.core.snapshot;
    let scheme = exchange.client_scheme();
    let plan = Plan::new(&snapshot.config, &snapshot.routes, &snapshot.cors, exchange.request, scheme);
    if let Err(error) = plan.check_path() {
        return Err(exchange.malformed(error).await);
    }
    if let Some(local) = &plan.local {
        if local.is_charged() {
            exchange.charge_stranger().await.map_err(|limited| Failure::Limit(Denied::Limited(limited)))?;
        }
        return Ok(local::answer(exchange, local).await);
    }
    exchange.check_host()?;
    exchange.found(&plan.found);
    if !plan.takes_client(exchange.record.client) {
        // Charged like a bad credential: whoever probes is limited.
        exchange.charge_stranger().await.map_err(|limited| Failure::Limit(Denied::Limited(limited)))?;
        return Err(Failure::AddressNotAllowed);
    }
    let admission = exchange.admit(plan).await?;
    if let Some(reply) = &admission.route().reply {
        return Ok(routed::answer(exchange, &admission, reply).await);
    }
    match admission.route().kind {
        RouteKind::WebSocket => upgrade(exchange, &admission).await,
        RouteKind::Both if exchange.request.is_websocket => upgrade(exchange, &admission).await,
        RouteKind::Http | RouteKind::Both => forward(exchange, &admission).await,
    }
}
