//! Every way in: the core by hand, and each adapter in front of the local server.
//!
//! Below each adapter stands what turns the recorded URL into that of the server, so that above it all is as it was.

use std::error::Error;

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use async_trait::async_trait;
use axum::body::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry_instrumentation_genai as genai;
use opentelemetry_instrumentation_genai::interceptor::Action;
use opentelemetry_instrumentation_genai::{Instrumentation, Request};
use reqwest::{Method, Url};
use reqwest_middleware::{ClientBuilder, Middleware, Next};
use rig::http_client::{Error as RigError, HttpClientExt as _};
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};

use crate::exchange::{Exchange, Split};

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adapter {
    Core,
    Tower,
    ReqwestMiddleware,
    AsyncOpenAi,
    Rig,
}

pub(crate) const ADAPTERS: [Adapter; 5] =
    [Adapter::Core, Adapter::Tower, Adapter::ReqwestMiddleware, Adapter::AsyncOpenAi, Adapter::Rig];

/// What the caller sees.
#[derive(Debug)]
pub(crate) struct Seen {
    pub status: u16,
    pub bytes: Vec<u8>,
    /// Lengths of the chunks, where the client shows chunks.
    pub chunks: Option<Vec<usize>>,
}

impl Seen {
    fn whole(status: u16, bytes: Vec<u8>) -> Self {
        Self { status, bytes, chunks: None }
    }

    fn chunked(status: u16, chunks: &[Bytes]) -> Self {
        Self { status, bytes: chunks.concat(), chunks: Some(chunks.iter().map(Bytes::len).collect()) }
    }
}

type Outcome = Result<Seen, Box<dyn Error>>;

impl Adapter {
    pub(crate) async fn send(
        self,
        genai: &Instrumentation,
        exchange: &Exchange,
        local: &str,
        split: Split,
        seed: u64,
    ) -> Outcome {
        match self {
            Self::Core => core(genai, exchange, split, seed),
            Self::Tower => tower(genai, exchange, local).await,
            Self::ReqwestMiddleware => reqwest_middleware(genai, exchange, local).await,
            Self::AsyncOpenAi => async_openai(genai, exchange, local).await,
            Self::Rig => rig(genai, exchange, local).await,
        }
    }
}

fn core(genai: &Instrumentation, exchange: &Exchange, split: Split, seed: u64) -> Outcome {
    let request = Request { method: "POST", url: &exchange.url, body: Some(&exchange.request) };
    let (mut status, mut headers) = (exchange.status, axum::http::HeaderMap::new());
    for (name, value) in &exchange.headers {
        headers.insert(axum::http::HeaderName::try_from(name)?, value.parse()?);
    }
    let mut chunks: Vec<Bytes> = split.pieces(&exchange.response, seed).into_iter().map(Into::into).collect();
    if let Some((mut call, action)) = genai.intercept(&request, &axum::http::HeaderMap::new()) {
        if let Action::Answer(recorded) = action {
            (status, headers) = (recorded.status.as_u16(), recorded.headers);
            chunks = recorded.chunks.into_iter().map(|(_, chunk)| chunk).collect();
        }
        call.response(status, &headers);
        chunks.iter().for_each(|chunk| call.chunk(chunk));
        call.end();
    }
    Ok(Seen::chunked(status, &chunks))
}

fn request(exchange: &Exchange) -> Result<axum::http::Request<Full<Bytes>>, Box<dyn Error>> {
    let url = exchange.url.split('#').next().unwrap_or_default();
    let mut request = axum::http::Request::post(url);
    for (name, value) in &exchange.request_headers {
        request = request.header(name, value);
    }
    Ok(request.body(Full::new(Bytes::from(exchange.request.clone())))?)
}

async fn tower(genai: &Instrumentation, exchange: &Exchange, local: &str) -> Outcome {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let local = axum::http::Uri::try_from(local)?;
    let redirected = service_fn(move |mut request: axum::http::Request<_>| {
        *request.uri_mut() = local.clone();
        let client = client.clone();
        async move { client.request(request).await }
    });
    let mut service = genai::tower::GenAiLayer::new(genai.clone()).layer(redirected);
    let response = service.ready().await?.call(request(exchange)?).await?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut chunks = Vec::new();
    while let Some(frame) = body.frame().await {
        chunks.push(frame?.into_data().unwrap_or_default());
    }
    Ok(Seen::chunked(status, &chunks))
}

/// Sends to the local server instead.
struct Redirect(Url);

#[async_trait]
impl Middleware for Redirect {
    async fn handle(
        &self,
        mut request: reqwest::Request,
        extensions: &mut axum::http::Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        *request.url_mut() = self.0.clone();
        next.run(request, extensions).await
    }
}

fn reqwest_request(exchange: &Exchange) -> Result<reqwest::Request, Box<dyn Error>> {
    let mut request = reqwest::Request::new(Method::POST, Url::parse(&exchange.url)?);
    for (name, value) in &exchange.request_headers {
        request.headers_mut().insert(axum::http::HeaderName::try_from(name)?, value.parse()?);
    }
    *request.body_mut() = Some(exchange.request.clone().into());
    Ok(request)
}

async fn read(response: reqwest::Response) -> Outcome {
    let status = response.status().as_u16();
    let mut stream = response.bytes_stream();
    let mut chunks = Vec::new();
    while let Some(piece) = stream.next().await {
        chunks.push(piece?);
    }
    Ok(Seen::chunked(status, &chunks))
}

async fn reqwest_middleware(genai: &Instrumentation, exchange: &Exchange, local: &str) -> Outcome {
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(genai::reqwest_middleware::GenAiMiddleware::new(genai.clone()))
        .with(Redirect(Url::parse(local)?))
        .build();
    let response = client.execute(reqwest_request(exchange)?).await?;
    if ![local, exchange.url.as_str()].contains(&response.url().as_str()) {
        return Err(format!("the response has another URL: {}", response.url()).into());
    }
    read(response).await
}

async fn async_openai(genai: &Instrumentation, exchange: &Exchange, local: &str) -> Outcome {
    let local = Url::parse(local)?;
    let client = reqwest::Client::new();
    let redirected = service_fn(move |factory: HttpRequestFactory| {
        let (client, local) = (client.clone(), local.clone());
        async move {
            let mut request = factory.build().await?;
            *request.url_mut() = local;
            client.execute(request).await.map_err(OpenAIError::Reqwest)
        }
    });
    let request = reqwest_request(exchange)?;
    let factory = HttpRequestFactory::new(move || {
        let copy = request.try_clone();
        async move { copy.ok_or_else(|| OpenAIError::InvalidArgument("a body that is a stream".to_owned())) }
    });
    let boxed =
        redirected.map_future(|future| -> std::pin::Pin<Box<dyn Future<Output = _> + Send>> { Box::pin(future) });
    let mut service = genai::async_openai::GenAiLayer::new(genai.clone()).layer(boxed);
    read(service.ready().await?.call(factory).await?).await
}

/// Sends to the local server instead.
#[derive(Clone, Debug)]
struct RigRedirect(rig::http_client::DynHttpClient, axum::http::Uri);

impl rig::http_client::HttpClientExt for RigRedirect {
    fn send<T, U>(
        &self,
        mut request: axum::http::Request<T>,
    ) -> impl Future<Output = rig::http_client::Result<axum::http::Response<rig::http_client::LazyBody<U>>>> + Send + 'static
    where
        T: Into<Bytes> + Send,
        U: From<Bytes> + Send + 'static,
    {
        *request.uri_mut() = self.1.clone();
        self.0.send(request)
    }

    fn send_multipart<U>(
        &self,
        request: axum::http::Request<rig::http_client::MultipartForm>,
    ) -> impl Future<Output = rig::http_client::Result<axum::http::Response<rig::http_client::LazyBody<U>>>> + Send + 'static
    where
        U: From<Bytes> + Send + 'static,
    {
        self.0.send_multipart(request)
    }

    fn send_streaming<T>(
        &self,
        mut request: axum::http::Request<T>,
    ) -> impl Future<Output = rig::http_client::Result<rig::http_client::StreamingResponse>> + Send
    where
        T: Into<Bytes> + Send,
    {
        *request.uri_mut() = self.1.clone();
        self.0.send_streaming(request)
    }
}

async fn rig(genai: &Instrumentation, exchange: &Exchange, local: &str) -> Outcome {
    let transport = rig_reqwest::ReqwestClient::from(reqwest::Client::new());
    let redirect = RigRedirect(rig::http_client::DynHttpClient::new(transport), axum::http::Uri::try_from(local)?);
    let client = genai::rig::GenAiHttpClient::new(redirect, genai.clone());
    let (parts, body) = request(exchange)?.into_parts();
    let request = axum::http::Request::from_parts(parts, body.collect().await?.to_bytes());
    let outcome = if exchange.streamed {
        match client.send_streaming(request).await {
            Ok(response) => {
                let status = response.status().as_u16();
                let mut stream = response.into_body();
                let mut chunks = Vec::new();
                while let Some(piece) = stream.next().await {
                    chunks.push(piece?);
                }
                Ok(Seen::chunked(status, &chunks))
            }
            Err(error) => Err(error),
        }
    } else {
        match client.send::<Bytes, Bytes>(request).await {
            Ok(response) => {
                let status = response.status().as_u16();
                Ok(Seen::whole(status, response.into_body().await?.to_vec()))
            }
            Err(error) => Err(error),
        }
    };
    match outcome {
        // rig has responses that fail as errors, with all that came.
        Err(RigError::InvalidStatusCodeWithDetails { status, body, .. }) => {
            Ok(Seen::whole(status.as_u16(), body.into_bytes()))
        }
        other => Ok(other?),
    }
}
