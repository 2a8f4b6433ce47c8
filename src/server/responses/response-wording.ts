import type { TextUsage } from "../../text/text-generator.ts";
import { faultOf } from "../error-fault.ts";
import { type AnswerBlock, AnswerBlocks } from "../generation/answer-blocks.ts";
import { countTokens } from "../generation/count-tokens.ts";
import type { Request, Totals, Wording } from "../generation/dialect.ts";
import type { StreamEvent } from "../generation/event-sink.ts";
import type { SequenceEvent } from "../generation/run-sequences.ts";
import { type ChatTokenLogprobs, chatLogprobs } from "../generation/token-logprobs.ts";
import type { ChatAnswerRules } from "../request/answer-rules.ts";
import type { ChatBody } from "../request/schemas.ts";
import { type ItemStatus, itemEvents, itemOf, type Logprobs, type ResponseEvent } from "./output-items.ts";
import type { ResponsesBody } from "./schemas.ts";

type Status = "in_progress" | "completed" | "incomplete" | "failed";

/** An answer as OpenAI's response: items of text, reasoning and calls of functions. */
export class ResponseWording implements Wording<ResponseEvent> {
  readonly #request: Request<ChatBody>;
  readonly #wire: ResponsesBody;
  readonly #answer: AnswerBlocks;
  /** Of the text of each block so far. */
  readonly #logprobs: ChatTokenLogprobs[][] = [];
  /** Unix seconds. */
  readonly #createdAt = Math.floor(Date.now() / 1000);
  #isStarted = false;
  #numSent = 0;
  #status: Status = "in_progress";
  /** Why it is incomplete. */
  #cutBy: "max_output_tokens" | "aborted" = "max_output_tokens";
  #reasoningTokens = 0;

  constructor(request: Request<ChatBody>, rules: ChatAnswerRules, wire: ResponsesBody) {
    this.#request = request;
    this.#wire = wire;
    this.#answer = new AnswerBlocks(rules, false);
  }

  chunks({ delta }: SequenceEvent): ResponseEvent[] {
    const events: ResponseEvent[] = [];
    if (!this.#isStarted) {
      this.#isStarted = true;
      const response = this.#response(null);
      events.push({ type: "response.created", response }, { type: "response.in_progress", response });
    }
    const { finishReason } = delta;
    if (finishReason !== null) {
      this.#status = finishReason === "stop" ? "completed" : "incomplete";
      if (finishReason === "abort") this.#cutBy = "aborted";
    }
    const blockEvents = this.#answer.read(delta);
    if (finishReason !== null) this.#reasoningTokens = this.#countReasoning();
    let fresh = this.#logprobsOf(delta);
    for (const event of blockEvents) {
      const { block } = event;
      const all = (this.#logprobs[block.index] ??= []);
      // What belongs to the tokens goes with the first text that they bring; those of calls and reasoning have no place.
      const own = event.kind === "grow" && block.kind === "text" ? fresh : [];
      if (own.length > 0) fresh = [];
      all.push(...own);
      events.push(...itemEvents(event, this.#itemStatus(block), event.kind === "close" ? all : own));
    }
    return events;
  }

  #logprobsOf({ logprobs, tokenIds }: SequenceEvent["delta"]): Logprobs {
    return logprobs === null ? [] : chatLogprobs(this.#request.model.tokenizer, tokenIds, logprobs);
  }

  whole({ usage }: Totals): object {
    return this.#response(usage);
  }

  event(event: ResponseEvent): StreamEvent {
    const sequence_number = this.#numSent;
    this.#numSent += 1;
    return { name: event.type, data: { ...event, sequence_number } };
  }

  closing({ usage }: Totals): StreamEvent[] {
    return [this.event({ type: `response.${this.#status}`, response: this.#response(usage) })];
  }

  failure(error: unknown): StreamEvent[] {
    this.#status = "failed";
    const { message, reason } = faultOf(error);
    const response = { ...this.#response(null), error: { code: "server_error", message, reason } };
    return [this.event({ type: "response.failed", response })];
  }

  #response(usage: TextUsage | null): object {
    const { model, plan, body } = this.#request;
    const wire = this.#wire;
    return {
      id: this.#request.id,
      object: "response",
      created_at: this.#createdAt,
      status: this.#status,
      error: null,
      incomplete_details: this.#status === "incomplete" ? { reason: this.#cutBy } : null,
      instructions: wire.instructions ?? null,
      max_output_tokens: wire.max_output_tokens ?? null,
      model: model.id,
      output: this.#answer.blocks.map((block) =>
        itemOf(block, this.#itemStatus(block), this.#logprobs[block.index] ?? []),
      ),
      parallel_tool_calls: body.parallel_tool_calls ?? true,
      previous_response_id: null,
      reasoning: { effort: wire.reasoning?.effort ?? null, summary: null },
      store: false,
      temperature: plan.sampling.temperature,
      text: { format: wire.text?.format ?? { type: "text" } },
      tool_choice: wire.tool_choice ?? "auto",
      tools: wire.tools ?? [],
      top_p: plan.sampling.topP,
      truncation: "disabled",
      usage: usage === null ? null : usageBody(usage, this.#reasoningTokens),
      user: wire.user ?? null,
      metadata: wire.metadata ?? {},
    };
  }

  /** Only the last item can be cut. */
  #itemStatus(block: AnswerBlock): ItemStatus {
    const isLast = block.index === this.#answer.blocks.length - 1;
    if (!isLast || this.#status === "completed") return "completed";
    return this.#status === "in_progress" ? "in_progress" : "incomplete";
  }

  #countReasoning(): number {
    const { tokenizer } = this.#request.model;
    let count = 0;
    for (const { kind, text } of this.#answer.blocks) {
      if (kind === "reasoning") count += countTokens(tokenizer, text);
    }
    return count;
  }
}

function usageBody(
  { promptTokens, completionTokens, cachedTokens }: TextUsage,
  reasoningTokens: number,
): object {
  return {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: cachedTokens },
    output_tokens: completionTokens,
    output_tokens_details: { reasoning_tokens: Math.min(reasoningTokens, completionTokens) },
    total_tokens: promptTokens + completionTokens,
  };
}
