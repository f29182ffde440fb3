//! A listening socket that can be shut and opened again at run time, and the connections that came in through it.
//!
//! Shutting closes the socket (connections are refused) and every open connection. What is said on a connection is the
//! [`Site`]'s business.

use std::{convert::Infallible, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Body;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::rustls::HandshakeKind;

use super::tls::ServerTls;

/// How long a socket that is opened again waits before it tries its address once more.
const REBIND_PAUSE: Duration = Duration::from_millis(20);
/// Most bytes of a request that is read only to be cut off.
const REQUEST_HEAD: usize = 4096;

/// How connections are mistreated below HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistreatment {
    /// Reset in the middle of an answer.
    Reset,
    /// Held without a word.
    Silence,
}

/// What is behind a door.
pub(super) trait Site: Send + Sync + 'static {
    fn tls(&self) -> Option<&ServerTls>;
    fn mistreatment(&self) -> Option<Mistreatment>;
    fn connected(&self);
    /// A TLS session was resumed.
    fn resumed(&self) {}
    fn answer(self: Arc<Self>, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}

/// What is wanted of the socket. Every order closes the open connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    number: u64,
    open: bool,
}

/// The handle of a door; the door closes when it is dropped.
#[derive(Debug)]
pub(super) struct Door {
    order: watch::Sender<Order>,
    /// Number of the last order carried out.
    done: watch::Receiver<u64>,
    address: SocketAddr,
}

impl Door {
    /// Serves `site` on a bound socket.
    ///
    /// # Errors
    /// What the operating system says of the socket.
    pub(super) fn open<S: Site>(listener: std::net::TcpListener, site: Arc<S>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        let (order, orders) = watch::channel(Order { number: 0, open: true });
        let (done_sender, done) = watch::channel(0);
        tokio::spawn(keep(Some(listener), address, site, orders, done_sender));
        Ok(Self { order, done, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens or shuts; returns when it is done and every older connection is closed.
    pub(super) async fn set_open(&self, open: bool) {
        let mut number = 0;
        self.order.send_modify(|order| {
            *order = Order { number: order.number + 1, open };
            number = order.number;
        });
        let mut done = self.done.clone();
        // An error means that the runtime is going down, and the socket with it.
        let _ = done.wait_for(|done| *done >= number).await;
    }
}

async fn keep<S: Site>(
    mut listener: Option<TcpListener>,
    address: SocketAddr,
    site: Arc<S>,
    mut orders: watch::Receiver<Order>,
    done: watch::Sender<u64>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            changed = orders.changed() => {
                if changed.is_err() {
                    return;
                }
                let order = *orders.borrow_and_update();
                connections.shutdown().await;
                if !order.open {
                    listener = None;
                } else if listener.is_none() {
                    listener = Some(bind_again(address).await);
                }
                done.send_replace(order.number);
            }
            accepted = accept(listener.as_ref()) => match accepted {
                Ok(stream) => {
                    site.connected();
                    connections.spawn(serve(stream, Arc::clone(&site)));
                }
                // Out of file descriptors, most likely: others will close theirs.
                Err(_) => tokio::time::sleep(REBIND_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn bind_again(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(REBIND_PAUSE).await,
        }
    }
}

async fn serve<S: Site>(stream: TcpStream, site: Arc<S>) {
    let _ = stream.set_nodelay(true);
    let mistreatment = site.mistreatment();
    if mistreatment == Some(Mistreatment::Silence) {
        std::future::pending::<()>().await;
    }
    if mistreatment == Some(Mistreatment::Reset) {
        // Closing with unsent data thrown away is what makes the kernel send RST.
        let _ = stream.set_zero_linger();
    }
    match site.tls() {
        None => converse(stream, site, mistreatment).await,
        Some(tls) => {
            let Some(acceptor) = tls.acceptor() else { return };
            if let Ok(stream) = acceptor.accept(stream).await {
                if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
                    site.resumed();
                }
                converse(stream, site, mistreatment).await;
            }
        }
    }
}

async fn converse<S: Site>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    site: Arc<S>,
    mistreatment: Option<Mistreatment>,
) {
    if mistreatment.is_some() {
        let _ = cut_off(stream).await;
        return;
    }
    let service = service_fn(move |request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.answer(request).await) }
    });
    // Clients that go away in the middle are their own business.
    let _ = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}

/// Reads a request and starts an answer; the caller closes.
async fn cut_off(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut head = [0; REQUEST_HEAD];
    if stream.read(&mut head).await? > 0 {
        let start =
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{\n \"node\": {";
        stream.write_all(start.as_bytes()).await?;
        stream.flush().await?;
        // Long enough for the client to have read the headers: the reset throws away what is on its way.
        tokio::time::sleep(REBIND_PAUSE).await;
    }
    Ok(())
}
