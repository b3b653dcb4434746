<?php

declare(strict_types=1);

namespace Domoflux;

/**
 * Calls the daemon: JSON-RPC 2.0 over HTTP on loopback (docs/api.md of the project).
 */
final class Rpc
{
    /** The version of the API that this plugin speaks. */
    public const API = 1;

    private const SECONDS = 5.0;

    /** Where a daemon of Jeedom's instance may have written its endpoint.json, the likeliest first. */
    private const PLACES = ['/run/domoflux/jeedom', '/var/lib/domoflux/jeedom'];

    /**
     * Calls one method.
     *
     * @param array<string, mixed> $params
     * @return mixed its result
     * @throws AwayException no daemon answers
     * @throws RpcException it refuses the call
     */
    public static function call(string $method, array $params = [], float $seconds = self::SECONDS)
    {
        return self::answer(self::post(self::message($method, $params, 1), $seconds));
    }

    /**
     * Calls several methods in one request.
     *
     * @param array<string, array{0: string, 1?: array<string, mixed>}> $calls name of the result => method and parameters
     * @return array<string, mixed> their results
     * @throws AwayException
     * @throws RpcException the first that was refused
     */
    public static function batch(array $calls, float $seconds = self::SECONDS): array
    {
        $messages = [];
        foreach ($calls as $name => $call) {
            $messages[] = self::message($call[0], $call[1] ?? [], $name);
        }
        $results = [];
        foreach (self::post($messages, $seconds) as $answer) {
            if (is_array($answer) && isset($answer['id'])) {
                $results[$answer['id']] = self::answer($answer);
            }
        }
        foreach (array_keys($calls) as $name) {
            if (!array_key_exists($name, $results)) {
                throw new AwayException('the daemon did not answer ' . $calls[$name][0]);
            }
        }
        return $results;
    }

    /**
     * Who answers.
     *
     * @return array<string, mixed>
     * @throws AwayException
     * @throws RpcException
     */
    public static function hello(float $seconds = 2.0): array
    {
        $hello = self::call('daemon.hello', ['client' => 'jeedom-plugin', 'api' => self::API], $seconds);
        if (!is_array($hello)) {
            throw new AwayException('what answers is no domoflux daemon');
        }
        return $hello;
    }

    /**
     * @param array<string, mixed> $params
     * @param int|string $id
     * @return array<string, mixed>
     */
    private static function message(string $method, array $params, $id): array
    {
        // An empty array would be a list in JSON.
        return ['jsonrpc' => '2.0', 'id' => $id, 'method' => $method, 'params' => $params === [] ? new \stdClass() : $params];
    }

    /**
     * @param mixed $answer
     * @return mixed
     * @throws RpcException
     * @throws AwayException
     */
    private static function answer($answer)
    {
        if (!is_array($answer)) {
            throw new AwayException('what answers is no domoflux daemon');
        }
        if (isset($answer['error']) && is_array($answer['error'])) {
            throw new RpcException($answer['error']);
        }
        if (!array_key_exists('result', $answer)) {
            // What is refused before it is a call: the token, the size. Taken for an answer, it would be "nothing is wrong".
            $why = is_string($answer['error'] ?? null) ? $answer['error'] : (string) json_encode($answer);
            throw new AwayException(sprintf(__('le démon refuse l\'appel : %s', __FILE__), substr($why, 0, 200)));
        }
        return $answer['result'];
    }

    /**
     * @param array<mixed> $body
     * @return array<mixed>
     * @throws AwayException
     */
    private static function post(array $body, float $seconds): array
    {
        $endpoint = self::endpoint();
        // No JSON_PRESERVE_ZERO_FRACTION: PHP of 32 bits has a number beyond 2^31 as a float, and the daemon wants an integer.
        $json = json_encode($body, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
        if ($json === false) {
            throw new AwayException('what is to be sent is no text in UTF-8: ' . json_last_error_msg());
        }
        $context = stream_context_create(['http' => [
            'method' => 'POST',
            'header' => [
                'Authorization: Bearer ' . $endpoint['token'],
                'Content-Type: application/json',
                'Accept-Language: ' . self::language(),
                'Connection: close',
            ],
            'content' => $json,
            'timeout' => $seconds,
            'ignore_errors' => true,
            'follow_location' => 0,
        ]]);
        $answer = @file_get_contents($endpoint['url'], false, $context);
        if ($answer === false) {
            throw new AwayException(sprintf(__('le démon ne répond pas sur le port %d', __FILE__), $endpoint['port']));
        }
        $decoded = json_decode(Flows::named($answer), true);
        if (!is_array($decoded)) {
            throw new AwayException(sprintf(__('le démon refuse l\'appel : %s', __FILE__), substr(trim($answer), 0, 200)));
        }
        return $decoded;
    }

    /**
     * Where the daemon of this Jeedom is.
     *
     * @return array{url: string, port: int, pid: int, token: string, boot_id: string}
     * @throws AwayException there is none, or this user may not know
     */
    public static function endpoint(): array
    {
        $why = __('le démon ne tourne pas', __FILE__);
        $code = 0;
        foreach (self::places() as $place) {
            $file = $place . '/endpoint.json';
            if (!is_readable($file)) {
                if (file_exists($place) && (!is_executable($place) || file_exists($file))) {
                    $why = sprintf(__('%s n\'est pas lisible par cet utilisateur : relancez les dépendances du plugin', __FILE__), $file);
                    $code = AwayException::LOCKED_OUT;
                }
                continue;
            }
            $found = json_decode((string) file_get_contents($file), true);
            // After a crash the file stays: the token is for the process that wrote it only.
            if (!is_array($found) || !isset($found['pid'], $found['port'], $found['token_file']) || !file_exists('/proc/' . (int) $found['pid'])) {
                continue;
            }
            if (!is_readable((string) $found['token_file'])) {
                $why = sprintf(__('%s n\'est pas lisible par cet utilisateur : relancez les dépendances du plugin', __FILE__), $found['token_file']);
                $code = AwayException::LOCKED_OUT;
                continue;
            }
            $port = (int) $found['port'];
            return [
                'url' => 'http://127.0.0.1:' . $port . '/',
                'port' => $port,
                'pid' => (int) $found['pid'],
                'token' => trim((string) file_get_contents((string) $found['token_file'])),
                'boot_id' => (string) ($found['boot_id'] ?? ''),
            ];
        }
        throw new AwayException($why, $code);
    }

    /** @return string[] */
    private static function places(): array
    {
        $asked = getenv('DOMOFLUX_STATE_DIR');
        return is_string($asked) && $asked !== '' ? [$asked] : self::PLACES;
    }

    private static function language(): string
    {
        return substr(\translate::getLanguage(), 0, 2);
    }
}
