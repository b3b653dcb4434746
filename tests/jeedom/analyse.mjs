// What PHP's own parser does not see: undefined types, methods, functions, variables, wrong numbers of arguments, and what PHP 7.4
// does not know yet. Two parsers do it, over their packages in npm: intelephense as a language server, php-parser for the syntax.
//
//   NODE_PATH=<directory of intelephense and php-parser> node tests/jeedom/analyse.mjs
//
// The plugin is looked at beside the fake core, whose classes and signatures are those of the real one.

import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const VERSION = "7.4.0";
/** For how long the language server may be busy, in ms. */
const PATIENCE = 90_000;
/** After the last diagnostics, this long nothing more came: it is done. */
const QUIET = 3_000;

/** What Jeedom's PHP has, named as the language server names its descriptions of them. */
const EXTENSIONS = [
    "Core", "ctype", "date", "fileinfo", "filter", "hash", "json", "libxml", "openssl", "pcre", "PDO", "posix", "random", "Reflection",
    "session", "SPL", "standard", "superglobals", "tokenizer", "zlib",
];

const require = createRequire(join(resolve(process.env.NODE_PATH), "resolved-from-here.js"));
const here = import.meta.dirname;
const root = resolve(here, "../..");

/** All PHP files below a directory. */
function phpFiles(directory) {
    return readdirSync(directory).flatMap((name) => {
        const path = join(directory, name);
        if (statSync(path).isDirectory()) {
            return phpFiles(path);
        }
        return name.endsWith(".php") ? [path] : [];
    });
}

// ---- Syntax

/** What came after PHP 7.4 and neither parser minds. In code without comments, texts and catch clauses. */
const NEWER = [
    /(?<![>:\w$\\]|function )\\?\b(str_contains|str_starts_with|str_ends_with|get_debug_type|get_resource_id|fdiv|preg_last_error_msg|array_is_list)\s*\(/g,
    /(?<![>:\w$\\]|function )\\?\b(fsync|fdatasync|enum_exists|array_find|array_find_key|array_any|array_all|json_validate|mb_str_pad|mb_trim)\s*\(/g,
    /\b(instanceof|new|extends|implements)\s+\\?(WeakMap|Stringable|ValueError|UnhandledMatchError|PhpToken)\b/g,
    /\?->/g,
    /(?<![\w$>:]|function )match\s*\(/g,
    /\breadonly\b/g,
    /(?<![$>:\\\w])enum\s+\w+\s*[:{]/g,
    /\bfunction\s+__construct\s*\([^)]*\b(public|protected|private)\b/g,
    /[\w\\]+\s*\|\s*[\w\\]+\s+&?(\.\.\.)?\$/g, // union types of parameters and properties
    /\)\s*:\s*\??[\w\\]+\s*\|/g, // and of results
    /\)\s*:\s*\??(static|mixed|never)\b/g,
    /[(,]\s*(mixed|never|false|null)\s+\$/g,
    /\bfunction\b[^{;]*,\s*\)/g, // a comma after the last parameter
    /(\?\?|\?|(?<![?:]):|=>|&&|\|\|)\s*throw\b/g,
    /\$\w+::class\b/g,
    /\(\s*\.\.\.\s*\)/g,
    /\bcatch\b/g, // one without a variable; others are taken out
];

/** Code without comments and texts, with as many lines. */
function bare(code) {
    const blank = (text) => text.replace(/[^\n]/g, " ");
    const php = code.replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\?>[\s\S]*?(<\?php|<\?=|$)/g, blank);
    return php.replace(/catch\s*\([^)]*\$\w+\s*\)/g, blank);
}

function syntax(path) {
    const code = readFileSync(path, "utf8");
    const found = [];
    const { Engine } = require("php-parser");
    const engine = new Engine({ parser: { version: "7.4", extractDoc: false, suppressErrors: true }, ast: { withPositions: true } });
    for (const error of engine.parseCode(code, path).errors) {
        found.push([error.line, error.message]);
    }
    const text = bare(code);
    for (const match of NEWER.flatMap((newer) => [...text.matchAll(newer)])) {
        found.push([text.slice(0, match.index).split("\n").length, `newer than PHP 7.4: ${match[0].replace(/\s+/g, " ").trim()}`]);
    }
    return found;
}

// ---- Types

class Server {
    #child;
    #next = 1;
    #waiting = new Map();
    #buffer = Buffer.alloc(0);
    diagnostics = new Map();
    last = Date.now();
    #indexed;
    indexed = new Promise((done) => (this.#indexed = done));

    constructor() {
        this.#child = spawn(process.execPath, [require.resolve("intelephense/lib/intelephense.js"), "--stdio"], { stdio: ["pipe", "pipe", "inherit"] });
        this.#child.stdout.on("data", (bytes) => this.#read(bytes));
    }

    end() {
        this.#child.kill();
    }

    send(message) {
        const body = JSON.stringify({ jsonrpc: "2.0", ...message });
        this.#child.stdin.write(`Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    }

    request(method, params) {
        const id = this.#next++;
        this.send({ id, method, params });
        return new Promise((done) => this.#waiting.set(id, done));
    }

    #read(bytes) {
        this.#buffer = Buffer.concat([this.#buffer, bytes]);
        for (;;) {
            const end = this.#buffer.indexOf("\r\n\r\n");
            if (end < 0) {
                return;
            }
            const length = Number(/Content-Length: (\d+)/.exec(this.#buffer.toString("latin1", 0, end))[1]);
            if (this.#buffer.length < end + 4 + length) {
                return;
            }
            const body = this.#buffer.toString("utf8", end + 4, end + 4 + length);
            this.#buffer = this.#buffer.subarray(end + 4 + length);
            this.#hear(JSON.parse(body));
        }
    }

    #hear({ id, method, params, result }) {
        if (method === "textDocument/publishDiagnostics") {
            this.last = Date.now();
            this.diagnostics.set(params.uri, params.diagnostics);
        } else if (method === "indexingEnded") {
            this.#indexed();
        } else if (method === "workspace/configuration") {
            this.send({ id, result: params.items.map(() => settings) });
        } else if (method !== undefined && id !== undefined) {
            this.send({ id, result: null });
        } else if (id !== undefined) {
            this.#waiting.get(id)?.(result);
        }
    }
}

const settings = {
    stubs: EXTENSIONS,
    environment: { phpVersion: VERSION },
    files: { maxSize: 1_000_000, associations: ["*.php"], exclude: [] },
    telemetry: { enabled: false },
    diagnostics: {
        enable: true, run: "onType", typeErrors: true, undefinedTypes: true, undefinedFunctions: true, undefinedConstants: true,
        undefinedClassConstants: true, undefinedMethods: true, undefinedProperties: true, undefinedVariables: true, argumentCount: true,
        languageConstraints: true, implementationErrors: true, unusedSymbols: false, unexpectedTokens: true, duplicateSymbols: true,
        deprecated: true, strictTypes: true, noMixedTypeCheck: true, relaxedTypeCheck: true, memberAccess: true,
    },
};

/** What the language server says of files, by path. */
async function types(directory, files) {
    const server = new Server();
    const cache = join(directory, ".cache");
    const folder = { uri: pathToFileURL(directory).href, name: "plugin" };
    await server.request("initialize", {
        processId: process.pid,
        rootUri: folder.uri,
        workspaceFolders: [folder],
        capabilities: { workspace: { configuration: true, workspaceFolders: true }, textDocument: { publishDiagnostics: {} } },
        initializationOptions: { storagePath: cache, globalStoragePath: cache, clearCache: true, licenceKey: "" },
    });
    server.send({ method: "initialized", params: {} });
    server.send({ method: "workspace/didChangeConfiguration", params: { settings: { intelephense: settings } } });
    const late = new Promise((_, fail) => setTimeout(() => fail(new Error("intelephense takes too long")), PATIENCE).unref());
    await Promise.race([server.indexed, late]);
    for (const path of files) {
        const text = readFileSync(path, "utf8");
        server.send({ method: "textDocument/didOpen", params: { textDocument: { uri: pathToFileURL(path).href, languageId: "php", version: 1, text } } });
    }
    const done = async () => {
        while (server.diagnostics.size < files.length || Date.now() - server.last < QUIET) {
            await new Promise((next) => setTimeout(next, 100));
        }
    };
    await Promise.race([done(), late]);
    server.end();
    return new Map(files.map((path) => [path, server.diagnostics.get(pathToFileURL(path).href) ?? []]));
}

// ---- All

const work = mkdtempSync(join(tmpdir(), "domoflux-analyse-"));
let problems = 0;
try {
    const say = (path, line, text) => {
        problems += 1;
        console.log(`${relative(work, path)}:${line}: ${text}`);
    };
    cpSync(join(root, "plugin-jeedom"), join(work, "plugin-jeedom"), { recursive: true, filter: (path) => !path.includes("node_modules") });
    cpSync(join(here, "core"), join(work, "core"), { recursive: true });
    const files = phpFiles(join(work, "plugin-jeedom"));
    for (const path of files) {
        for (const [line, text] of syntax(path)) {
            say(path, line, text);
        }
    }
    for (const [path, found] of await types(work, files)) {
        for (const { range, message, severity } of found) {
            if (severity <= 2) {
                say(path, range.start.line + 1, message);
            }
        }
    }
    console.log(`${files.length} files, ${problems} problems`);
} finally {
    rmSync(work, { recursive: true, force: true });
}
process.exit(problems === 0 ? 0 : 1);
