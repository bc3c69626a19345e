#!/usr/bin/env bash
# Makes the JSON Schemas beside this file anew out of Slack's own TypeScript types; README.md says why and how.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# typescript is pinned because the generator reads the types with whichever version it finds.
npm init --yes >/dev/null
npm install --no-audit --no-fund --ignore-scripts --save-exact \
  @slack/types@3.2.0 \
  @slack/web-api@8.2.0 \
  @slack/webhook@8.0.2 \
  @types/node@26.6.6 \
  ts-json-schema-generator@2.4.0 \
  typescript@5.9.3

cat >tsconfig.json <<'JSON'
{
  "compilerOptions": {
    "target": "es2022",
    "module": "nodenext",
    "moduleResolution": "nodenext",
    "strict": true,
    "skipLibCheck": true,
    "types": ["node"]
  },
  "files": ["types.ts"]
}
JSON

cat >types.ts <<'TS'
import type { KnownBlock, MessageAttachment, MessageMetadata } from '@slack/types';
import type { ChatPostMessageArguments, ChatUpdateArguments } from '@slack/web-api';
import type { IncomingWebhookSendArguments } from '@slack/webhook';

export type Post = ChatPostMessageArguments;
export type Update = ChatUpdateArguments;
export type Webhook = IncomingWebhookSendArguments;
export type Metadata = MessageMetadata;
export interface Attachment extends Pick<MessageAttachment, 'color' | 'fallback'> {
  blocks?: KnownBlock[];
}
TS

npx --no-install ts-json-schema-generator --path types.ts --tsconfig tsconfig.json --type '*' --no-type-check \
  --jsDoc none --out all.json

cat >narrow.mjs <<'JS'
import { readFileSync, writeFileSync } from 'node:fs';

const { definitions } = JSON.parse(readFileSync('all.json', 'utf8'));
const ref = (name) => ({ $ref: `#/definitions/${name}` });
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
const named = (schema) => schema.$ref && decodeURIComponent(schema.$ref.replace('#/definitions/', ''));
const resolved = (schema) => (named(schema) ? resolved(definitions[named(schema)]) : schema);

// Keys of the client, not of a message, or not to be used beside `text`, which our messages always have.
const UNUSED = ['token', 'fetch', 'timeout', 'retryConfig', 'markdown_text'];
// The only objects whose keys are the sender's own.
const FREE = [
  '#/definitions/MessageMetadata/properties/event_payload',
  '#/definitions/MessageMetadataEventPayloadObject',
];

// Whatever else a schema may say could open it again: better to stop than to write it unread.
const PLAIN = ['$ref', 'additionalProperties', 'const', 'enum', 'required', 'type'];

const isOpen = (schema) =>
  Object.keys(schema).length === 0 ||
  (schema.type === 'object' && schema.additionalProperties !== false) ||
  (schema.type === 'array' && !schema.items);

/** The schema without the members of unions that would make any object valid. */
function narrowed(schema, path) {
  if (FREE.includes(path)) return schema;
  const { anyOf, items, properties, ...rest } = schema;
  const unknown = Object.keys(rest).filter((key) => !PLAIN.includes(key));
  if (unknown.length > 0) throw new Error(`${path}: ${unknown} is nothing this script knows`);
  if (isOpen(schema)) throw new Error(`${path}: anything is valid here`);
  if (anyOf) {
    const strict = anyOf.filter((member) => named(member) !== 'Block' && !isOpen(member));
    if (strict.length === 0) throw new Error(`${path}: nothing strict is left of this union`);
    const members = strict.map((member, i) => narrowed(member, `${path}/anyOf/${i}`));
    Object.assign(rest, members.length === 1 ? members[0] : { anyOf: members });
  }
  if (items) rest.items = narrowed(items, `${path}/items`);
  if (properties) {
    const entries = Object.entries(properties);
    rest.properties = Object.fromEntries(
      entries.map(([key, value]) => [key, narrowed(value, `${path}/properties/${key}`)]),
    );
  }
  return rest;
}

/**
 * One object of a union of objects. TypeScript lets an object have the keys of several members of a union that
 * nothing discriminates (`text`, `blocks` and `attachments` together); the members' schemas would refuse that.
 */
function merged(schema) {
  const members = (schema.anyOf ?? [schema]).map(resolved);
  const properties = {};
  for (const key of [...new Set(members.flatMap((member) => Object.keys(member.properties)))].sort()) {
    const found = members.map((member) => member.properties[key]).filter((it) => it && !same(it, { not: {} }));
    const distinct = found.filter((it, i) => found.findIndex((other) => same(it, other)) === i);
    properties[key] = distinct.length === 1 ? distinct[0] : { anyOf: distinct };
  }
  return {
    type: 'object',
    properties,
    required: members[0].required?.filter((key) => members.every((it) => it.required?.includes(key))) ?? [],
    additionalProperties: false,
  };
}

function reachable(schema, found = {}) {
  if (typeof schema !== 'object' || schema === null) return found;
  const name = named(schema);
  if (name && !(name in found)) {
    if (name === 'Block') throw new Error('Block, which any block is, is still in use');
    found[name] = narrowed(definitions[name], `#/definitions/${name}`);
    reachable(found[name], found);
  }
  for (const value of Object.values(schema)) reachable(value, found);
  return found;
}

for (const [type, file] of [['Post', 'post'], ['Update', 'update'], ['Webhook', 'webhook']]) {
  const message = merged(resolved(definitions[type]));
  for (const key of UNUSED) delete message.properties[key];
  for (const key of ['blocks', 'attachments', 'metadata']) {
    if (!(key in message.properties)) throw new Error(`${type} has no ${key} any more`);
  }
  message.properties.blocks = { type: 'array', items: ref('KnownBlock') };
  message.properties.attachments = { type: 'array', items: ref('Attachment') };
  message.properties.metadata = ref('MessageMetadata');
  const root = narrowed(message, `#/definitions/${type}`);
  const used = reachable(root);
  const sorted = Object.fromEntries(Object.keys(used).sort().map((name) => [name, used[name]]));
  const schema = { $schema: 'http://json-schema.org/draft-07/schema#', ...root, definitions: sorted };
  writeFileSync(`${process.argv[2]}/${file}.schema.json`, `${JSON.stringify(schema, null, 1)}\n`);
}
JS

node narrow.mjs "$here"
