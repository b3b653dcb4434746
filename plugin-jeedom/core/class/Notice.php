<?php

declare(strict_types=1);

namespace Domoflux;

/**
 * What a person is told: the log of the plugin, a line on the page that is open, the message centre.
 */
final class Notice
{
    public static function log(string $level, string $text): void
    {
        \log::add('domoflux', $level, self::line($text));
    }

    /** Says it to whoever has Jeedom open, and to the log. */
    public static function alert(string $text, string $level = 'warning'): void
    {
        self::log($level === 'danger' ? 'error' : $level, $text);
        // The core's page puts it into HTML.
        \event::add('jeedom::alert', ['level' => $level, 'page' => 'domoflux', 'message' => 'domoflux : ' . self::html($text)]);
    }

    /** Leaves a message in the centre, once for the same `$topic`, until it is mended. */
    public static function keep(string $topic, string $text, string $action = ''): void
    {
        $known = \message::byPluginLogicalId('domoflux', $topic);
        foreach ($known as $message) {
            if ($message->getMessage() === secureXSS(self::html($text)) || $message->getMessage() === self::html($text)) {
                return;
            }
        }
        if ($known !== []) {
            \message::removeAll('domoflux', $topic);
        }
        \message::add('domoflux', self::html($text), $action, $topic);
    }

    public static function mended(string $topic): void
    {
        if (\message::byPluginLogicalId('domoflux', $topic) !== []) {
            \message::removeAll('domoflux', $topic);
        }
    }

    /** What peers send stays on one line. */
    private static function line(string $text): string
    {
        return (string) preg_replace('/[\x00-\x1f\x7f]+/', ' ', $text);
    }

    private static function html(string $text): string
    {
        return htmlspecialchars(self::line($text), ENT_QUOTES, 'UTF-8');
    }
}
