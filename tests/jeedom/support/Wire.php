<?php

declare(strict_types=1);

namespace Domoflux\Tests;

/** Sockets of the tests: clients, targets, mirrors. Reading waits for 5 s at most. */
final class Wire
{
    private const SECONDS = 5;

    /** A port that nobody listens on, below those that the kernel gives to clients. */
    public static function freePort(): int
    {
        do {
            $port = random_int(12000, 32000);
            $socket = @stream_socket_server('tcp://127.0.0.1:' . $port);
        } while ($socket === false);
        fclose($socket);
        return $port;
    }

    /** @return resource a listener */
    public static function listen(int $port)
    {
        $socket = stream_socket_server('tcp://127.0.0.1:' . $port);
        Check::true(is_resource($socket), 'listens on ' . $port);
        return $socket;
    }

    /**
     * @param resource $listener
     * @return resource who connected to it
     */
    public static function accept($listener)
    {
        $stream = stream_socket_accept($listener, self::SECONDS);
        stream_set_timeout($stream, self::SECONDS);
        return $stream;
    }

    /** @return resource */
    public static function connect(int $port)
    {
        $stream = stream_socket_client('tcp://127.0.0.1:' . $port, $code, $text, self::SECONDS);
        stream_set_timeout($stream, self::SECONDS);
        return $stream;
    }

    /** Whether somebody listens there. */
    public static function answers(int $port): bool
    {
        $stream = @stream_socket_client('tcp://127.0.0.1:' . $port, $code, $text, 1);
        if ($stream === false) {
            return false;
        }
        fclose($stream);
        return true;
    }

    /**
     * Writes on one side and expects it on the other.
     *
     * @param resource $from
     * @param resource $to
     */
    public static function passes($from, $to, string $bytes): void
    {
        fwrite($from, $bytes);
        self::gets($to, $bytes);
    }

    /** @param resource $to */
    public static function gets($to, string $bytes): void
    {
        $got = '';
        while (strlen($got) < strlen($bytes)) {
            $part = fread($to, strlen($bytes) - strlen($got));
            if ($part === false || $part === '') {
                break;
            }
            $got .= $part;
        }
        Check::same($bytes, $got, 'what arrives');
    }

    /**
     * A request to a web server.
     *
     * @param string[] $headers
     * @return array{0: int, 1: string} status and body
     */
    public static function http(string $method, string $url, string $body = '', array $headers = []): array
    {
        $context = stream_context_create(['http' => [
            'method' => $method, 'header' => array_merge(['Connection: close'], $headers), 'content' => $body, 'timeout' => self::SECONDS,
            'ignore_errors' => true, 'follow_location' => 0,
        ]]);
        $answer = file_get_contents($url, false, $context);
        preg_match('/^HTTP\/\S+ (\d+)/', $http_response_header[0], $found);
        return [(int) $found[1], (string) $answer];
    }
}
