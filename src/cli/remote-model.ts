import { type Endpoint } from "../client/endpoint.ts";
import { createHttpChatCompleter, createHttpCompleter } from "../client/http-completer.ts";
import { createHttpScorer } from "../client/http-scorer.ts";
import { JsonChannel } from "../client/json-channel.ts";
import { firstModelOf } from "../client/served-models.ts";
import { ChatModel } from "../evaluate/requests/chat-model.ts";
import { TokenModel } from "../evaluate/requests/token-model.ts";
import type { TaskModel } from "../flow/flow-plan.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** lm-eval's `max_length` for servers that do not tell theirs. */
const usualContext = 2048;

const probe = "A red fox sees 12 geese; it runs.";

export interface RemoteModel {
  readonly endpoint: Endpoint;
  /** Null takes the first that the server lists. */
  readonly model: string | null;
  /** Context to use in place of the one that the server tells. */
  readonly maxModelLen: number | null;
}

export interface NamedTaskModel extends TaskModel {
  readonly name: string;
  /** How it is reached, in lm-eval's words where it has one. */
  readonly source: string;
}

/**
 * Opens a served model that is asked in token ids, after one request that proves that it can score them. Throws
 * `endpoint_unreachable`, `endpoint_failed`.
 */
export async function openCompletionsModel(
  remote: RemoteModel,
  tokenizer: Tokenizer,
): Promise<NamedTaskModel> {
  const { name, context } = await describe(remote);
  const channel = new JsonChannel(remote.endpoint);
  const scorer = createHttpScorer(channel, name);
  try {
    const tokenIds = tokenizer.encode(probe, { addSpecialTokens: false });
    await scorer.check(tokenIds, probe);
  } catch (error) {
    await channel.close();
    throw error;
  }
  return {
    name,
    source: "local-completions",
    tokenizer,
    model: new TokenModel({
      tokenizer,
      // A request holds one id more than this, and the server generates one token after it.
      maxLength: context - 2,
      scorer,
      completer: createHttpCompleter(channel, name),
    }),
    modelArgs: { base_url: remote.endpoint.url, model: name, max_length: context },
    kernels: null,
    close: () => channel.close(),
  };
}

/** Opens a served model that is asked in chat messages. Errors as above. */
export async function openChatModel(remote: RemoteModel): Promise<NamedTaskModel> {
  const { name, context } = await describe(remote);
  const channel = new JsonChannel(remote.endpoint);
  return {
    name,
    source: "local-chat-completions",
    tokenizer: null,
    model: new ChatModel(createHttpChatCompleter(channel, name), context),
    modelArgs: { base_url: remote.endpoint.url, model: name, max_length: context, chat: true },
    kernels: null,
    close: () => channel.close(),
  };
}

async function describe({
  endpoint,
  model,
  maxModelLen,
}: RemoteModel): Promise<{ readonly name: string; readonly context: number }> {
  const listed = model === null || maxModelLen === null ? await firstModelOf(endpoint) : null;
  return { name: model ?? listed!.id, context: maxModelLen ?? listed?.maxModelLen ?? usualContext };
}
