//! `/api/v1/tokens`

use crate::api::{JsonBody, blocking};
use crate::error::ApiError;
use crate::state::ServerState;
use axum::Json;
use axum::extract::State;
use latent_app::tokens::{PromptToExplain, TokenReport};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// Tokens of text in a chunk.
const CHUNK_TOKENS: usize = 75;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokensRequest {
    prompt: String,
    /// A model's name. All models that are known have the same tokens.
    #[serde(default, rename = "model")]
    _model: Option<String>,
}

/// Count the tokens of a prompt
///
/// Of a prompt that changes from step to step, those of its first step.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "server", request_body = TokensRequest, responses(
    (status = 200, description = "Tokens, chunks and weights", body = Object),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn tokens(
    State(state): State<ServerState>,
    JsonBody(TokensRequest { prompt, .. }): JsonBody<TokensRequest>,
) -> Result<Json<Value>, ApiError> {
    let wildcards = state.options.wildcards.clone();
    blocking(move || {
        let report = PromptToExplain::new(&prompt, wildcards.as_deref(), 0, 20)?.explain(None, &[])?;
        let firsts = report.subprompts.iter().filter_map(|subprompt| subprompt.texts.first());
        let chunks: Vec<&Vec<TokenReport>> = firsts.flat_map(|text| &text.chunks).collect();
        let tokens: Vec<&TokenReport> = chunks.iter().copied().flatten().collect();
        let pieces: Vec<Value> = tokens
            .iter()
            .map(|token| json!({ "text": token.piece.replace("</w>", " "), "weight": token.weight }))
            .collect();
        Ok(Json(json!({
            "tokens": tokens.len(),
            "chunks": chunks.len(),
            "chunk_size": CHUNK_TOKENS,
            "truncated": false,
            "pieces": pieces,
        })))
    })
    .await
}
