/** What the server sends and takes, as in /openapi.json. Times are seconds since 1970. */

export interface Style {
  system_prompt: string | null;
  model: string | null;
  temperature: number | null;
  top_p: number | null;
  max_tokens: number | null;
  adapter: string | null;
}

export type ChatState = "idle" | "waiting" | "running";
export type AnswerStatus = "queued" | "in_progress" | "completed" | "incomplete" | "failed" | "cancelled";

export interface LastResponse {
  id: string;
  status: AnswerStatus;
}

export interface Chat {
  id: string;
  created_at: number;
  updated_at: number;
  title: string;
  /** The beginning of the last message. */
  preview: string;
  items: number;
  busy: boolean;
  style: Style;
  metadata: Record<string, string>;
  forked_from: string | null;
  pinned?: boolean;
  state?: ChatState;
  last_response?: LastResponse | null;
  /** Tokens of the window in use after the last answer. */
  context_tokens?: number | null;
  /** Where a search found it. */
  snippet?: string | null;
  /** The item it was found in. */
  snippet_item?: string | null;
}

export interface TextPart {
  type: "input_text" | "output_text" | "text";
  text: string;
}

export interface MessageItem {
  type: "message";
  id: string;
  role: "user" | "assistant" | "system" | "developer";
  status: "in_progress" | "completed" | "incomplete";
  content: TextPart[];
  /** The items that stand at this place in other branches, in order, itself among them. */
  siblings?: string[];
}

export interface FunctionCallItem {
  type: "function_call";
  id: string;
  status: string;
  call_id: string;
  name: string;
  arguments: string;
  siblings?: string[];
}

export interface FunctionOutputItem {
  type: "function_call_output";
  id: string;
  status: string;
  call_id: string;
  output: string;
  siblings?: string[];
}

export type Item = MessageItem | FunctionCallItem | FunctionOutputItem;

export interface Listed<T> {
  data: T[];
  first_id: string;
  last_id: string;
  has_more: boolean;
}

export interface Usage {
  input_tokens: number;
  output_tokens: number;
  total_tokens: number;
}

export interface AnswerError {
  message: string;
  code?: string;
  type?: string;
}

export interface ResponseOut {
  id: string;
  status: AnswerStatus;
  model: string;
  output: Item[];
  error: AnswerError | null;
  usage: Usage | null;
}

export interface ModelOut {
  id: string;
  /** Of a LoRA adapter: the model it belongs to. */
  parent?: string;
  /** Tokens of input and output together. */
  max_model_len?: number;
}

export interface Session {
  mode: "open" | "password" | "first_start";
  signed_in: boolean;
  user: string | null;
  admin: boolean;
  oidc: { name: string } | null;
}

export interface BroadcastBody {
  chats?: string[];
  new?: number;
  template: string;
  values?: Record<string, string>[];
  style?: Partial<Style>;
  max_output_tokens?: number;
}

export interface BroadcastOut {
  accepted: { chat: string; response: string }[];
  /** `chat` is null where a new one was not kept. */
  refused: { chat: string | null; error: AnswerError }[];
}
