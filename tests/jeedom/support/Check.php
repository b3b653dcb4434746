<?php

declare(strict_types=1);

namespace Domoflux\Tests;

/** What a test expects. What is not so is thrown. */
final class Check
{
    /** How long to wait for what another process does. */
    private const SECONDS = 8.0;

    /**
     * @param mixed $expected
     * @param mixed $is
     */
    public static function same($expected, $is, string $what = ''): void
    {
        if ($expected !== $is) {
            throw new \Exception(($what === '' ? '' : $what . ': ') . 'expected ' . self::shown($expected) . ', is ' . self::shown($is));
        }
    }

    /** @param mixed $is */
    public static function true($is, string $what): void
    {
        if ($is !== true) {
            throw new \Exception($what . ': ' . self::shown($is));
        }
    }

    public static function has(string $part, string $text): void
    {
        if (strpos($text, $part) === false) {
            throw new \Exception(self::shown($part) . ' is not in ' . self::shown($text));
        }
    }

    public static function hasNot(string $part, string $text): void
    {
        if (strpos($text, $part) !== false) {
            throw new \Exception(self::shown($part) . ' is in ' . self::shown($text));
        }
    }

    /** That it throws; what it says. */
    public static function thrown(callable $do): string
    {
        try {
            $do();
        } catch (\ErrorException $e) {
            throw $e; // A warning of PHP.
        } catch (\Exception $e) {
            return $e->getMessage();
        }
        throw new \Exception('nothing was thrown');
    }

    /**
     * Waits until it is true.
     *
     * @param callable(): mixed $is
     * @return mixed what it was then
     */
    public static function eventually(callable $is, string $what, float $seconds = self::SECONDS)
    {
        $deadline = microtime(true) + $seconds;
        while (!($found = $is())) {
            if (microtime(true) > $deadline) {
                throw new \Exception('not within ' . $seconds . ' s: ' . $what);
            }
            usleep(10000);
        }
        return $found;
    }

    /** @param mixed $value */
    private static function shown($value): string
    {
        $shown = (string) json_encode($value, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PARTIAL_OUTPUT_ON_ERROR);
        return strlen($shown) > 2000 ? substr($shown, 0, 2000) . '…' : $shown;
    }
}
