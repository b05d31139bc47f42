//! Serves the API: TLS, HTTP/1.1, and a thread for each request that is being answered.
//!
//! Bounds: so many connections at once, so many bytes of a body, so much time for a handshake, a
//! request and its answer. Beyond them only the connection ends that went beyond.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::call::{Call, Reply};
use super::desk::{Backend, Desk};
use crate::resource::Fault;

/// Connections at once.
const CONNECTIONS_MAX: usize = 256;

/// Bytes of a body.
const BODY_BYTES_MAX: usize = 4 << 20;

/// How long a client may take to shake hands, and to send a request.
const CLIENT_TIME: Duration = Duration::from_secs(30);

/// Serves on a thread that lives as long as the process.
///
/// # Errors
/// The thread, or its runtime, cannot start.
pub fn serve<B: Backend + 'static>(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    desk: Arc<Desk<B>>,
) -> io::Result<JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(16)
        .build()?;
    let run = move || runtime.block_on(accept(listener, tls, desk));
    thread::Builder::new().name("arm".to_owned()).spawn(run)
}

async fn accept<B: Backend + 'static>(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    desk: Arc<Desk<B>>,
) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (acceptor, desk) = (acceptor.clone(), Arc::clone(&desk));
                tokio::spawn(connection(stream, acceptor, desk, place));
            }
            // Most likely descriptors have run out: no use in trying at once.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn connection<B: Backend + 'static>(
    stream: tokio::net::TcpStream,
    acceptor: TlsAcceptor,
    desk: Arc<Desk<B>>,
    place: OwnedSemaphorePermit,
) {
    // Answers are small and wanted at once.
    drop(stream.set_nodelay(true));
    let shaken = tokio::time::timeout(CLIENT_TIME, acceptor.accept(stream)).await;
    let Ok(Ok(stream)) = shaken else { return };
    let service = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(answer(desk, request).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(CLIENT_TIME).max_buf_size(64 << 10);
    // How a conversation ends concerns only its client.
    drop(http.serve_connection(TokioIo::new(stream), service).await);
    drop(place);
}

async fn answer<B: Backend + 'static>(
    desk: Arc<Desk<B>>,
    request: Request<hyper::body::Incoming>,
) -> Response<Body> {
    let is_head = request.method() == axum::http::Method::HEAD;
    let read = tokio::time::timeout(CLIENT_TIME, call(request)).await;
    let reply = match read {
        Ok(Ok(call)) => {
            // Changes wait for workers, so they must not hold up the other connections.
            let done = tokio::task::spawn_blocking(move || desk.answer(&call)).await;
            done.unwrap_or_else(|_| {
                let message = "this is a bug of adit; please report it with the lines of its log";
                Reply::fault(&Fault::new(500, "InternalServerError", message))
            })
        }
        Ok(Err(fault)) => Reply::fault(&fault),
        Err(_) => {
            let message = "the request did not come in time; send it again";
            Reply::fault(&Fault::new(408, "RequestTimeout", message))
        }
    };
    response(reply, is_head)
}

async fn call(request: Request<hyper::body::Incoming>) -> Result<Call, Fault> {
    let (parts, body) = request.into_parts();
    let header = |name: HeaderName| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let body = to_bytes(Body::new(body), BODY_BYTES_MAX).await.map_err(|_| {
        let message = format!("the body could not be read; it has at most {BODY_BYTES_MAX} bytes");
        Fault::new(413, "RequestContentTooLarge", message)
    })?;
    Ok(Call {
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        authorization: header(AUTHORIZATION),
        if_match: header(IF_MATCH),
        if_none_match: header(IF_NONE_MATCH),
        body: body.to_vec(),
    })
}

fn response(reply: Reply, is_head: bool) -> Response<Body> {
    let text = reply.body.map(|body| body.to_string()).filter(|_| !is_head);
    let is_empty = text.is_none();
    let mut response = Response::new(text.map_or_else(Body::empty, Body::from));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or_default();
    let headers = response.headers_mut();
    if is_empty && reply.status != 204 {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    if !is_empty {
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        headers.insert(CONTENT_TYPE, json);
    }
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    response
}
