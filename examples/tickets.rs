//! Authentication of a browser's `EventSource`, which cannot set headers: by a cookie, or by a ticket in the
//! query.
//!
//! * `POST /login` with `Authorization: Bearer secret` sets a cookie, for pages of this origin.
//! * `POST /tickets` with the same header returns a ticket. It is valid once, for 10 s.
//! * `GET /events` counts. Without the cookie and without a valid `?ticket=` it is a 401.
//! * `GET /` is a page that uses tickets. A page of `PAGE_ORIGIN` may do the same; CORS allows it.
//!
//! A reconnection repeats the URL, and so a ticket that was used: the server answers 401, and the
//! `EventSource` closes. The page then gets a new ticket and resumes with `?last_event_id=`.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::{Router, routing::get, routing::post};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{env, error::Error, time::Duration};
use tidings::Event;
use tidings::axum::{SseRequest, serve, shutdown_signal};
use tidings::server::{Drain, HandlerError, Session, SessionOptions};
use tokio::time::{Instant, sleep};
use tower_http::cors::CorsLayer;

/// Random texts, each valid for a limited time.
struct Secrets {
    lifetime: Duration,
    expiries: Mutex<HashMap<String, Instant>>,
}

impl Secrets {
    /// Maximum number of valid secrets. A request for another is then a 429.
    const MAX: usize = 10_000;

    fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            expiries: Mutex::default(),
        }
    }

    fn issue(&self) -> Result<String, StatusCode> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        let secret = format!("{:032x}", u128::from_ne_bytes(bytes));
        let now = Instant::now();
        let mut expiries = self.lock();
        expiries.retain(|_, expiry| *expiry > now);
        if expiries.len() >= Self::MAX {
            return Err(StatusCode::TOO_MANY_REQUESTS);
        }
        expiries.insert(secret.clone(), now + self.lifetime);
        Ok(secret)
    }

    fn is_valid(&self, secret: &str) -> bool {
        let expiries = self.lock();
        expiries.get(secret).is_some_and(|at| *at > Instant::now())
    }

    /// Returns whether it was valid. It is not valid afterwards.
    fn redeem(&self, secret: &str) -> bool {
        let expiry = self.lock().remove(secret);
        expiry.is_some_and(|at| at > Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.expiries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct App {
    sessions: Secrets,
    tickets: Secrets,
}

/// In your program: check the access token here.
fn check_token(headers: &HeaderMap) -> Result<(), StatusCode> {
    let token = headers.get(header::AUTHORIZATION);
    let is_valid = token.is_some_and(|token| token == "Bearer secret");
    is_valid.then_some(()).ok_or(StatusCode::UNAUTHORIZED)
}

async fn log_in(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, StatusCode> {
    check_token(&headers)?;
    // Over HTTPS, add `Secure`. For pages of another site, `SameSite=None; Secure`.
    let cookie = format!("session={}; HttpOnly; SameSite=Lax", app.sessions.issue()?);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]))
}

async fn ticket(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<String, StatusCode> {
    check_token(&headers)?;
    app.tickets.issue()
}

async fn events(State(app): State<Arc<App>>, request: SseRequest) -> Result<Response, StatusCode> {
    let parts = request.parts();
    let cookies = parts.headers.get(header::COOKIE);
    let mut cookies = cookies
        .and_then(|all| all.to_str().ok())
        .unwrap_or_default()
        .split("; ");
    let session = cookies.find_map(|cookie| cookie.strip_prefix("session="));
    let mut fields = parts.uri.query().unwrap_or_default().split('&');
    let ticket = fields.find_map(|field| field.strip_prefix("ticket="));
    if !session.is_some_and(|session| app.sessions.is_valid(session))
        && !ticket.is_some_and(|ticket| app.tickets.redeem(ticket))
    {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let options = SessionOptions::new().retry(Duration::from_millis(100));
    Ok(request.options(options).open(count))
}

/// Sends five numbers, then ends, so that you can see the page reconnect.
async fn count(session: Session) -> Result<(), HandlerError> {
    let last = session.last_event_id().and_then(|id| id.parse().ok());
    let first = last.map_or(0, |last: u64| last.saturating_add(1));
    for n in first..first.saturating_add(5) {
        session.send(Event::new(n.to_string()).id(n)).await?;
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "an example prints to the terminal")]
async fn main() -> Result<(), Box<dyn Error>> {
    let origin = env::var("PAGE_ORIGIN").unwrap_or("http://localhost:3000".into());
    let cors = CorsLayer::new()
        .allow_origin(origin.parse::<HeaderValue>()?)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION])
        // For cookies, if the page sets `{ withCredentials: true }`.
        .allow_credentials(true);
    let app = Router::new()
        .route("/", get(Html(include_str!("tickets.html"))))
        .route("/login", post(log_in))
        .route("/tickets", post(ticket))
        .route("/events", get(events))
        .layer(cors)
        .with_state(Arc::new(App {
            sessions: Secrets::new(Duration::from_secs(60 * 60)),
            tickets: Secrets::new(Duration::from_secs(10)),
        }));
    let port = env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    let drain = Drain::new().deadline(Duration::from_secs(1));
    let server = serve(listener, app)
        .drain(&drain)
        .drain_on(shutdown_signal());
    // Printed after `shutdown_signal` has begun to listen.
    println!("listening on http://{address}");
    Ok(server.await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_secret_expires() {
        let secrets = Secrets::new(Duration::from_secs(10));
        let [first, second] = [(); 2].map(|()| secrets.issue().unwrap());
        assert_ne!(first, second);
        sleep(Duration::from_secs(9)).await;
        assert!(secrets.is_valid(&first) && secrets.redeem(&first));
        sleep(Duration::from_secs(1)).await;
        assert!(!secrets.is_valid(&second) && !secrets.redeem(&second));
    }
}
