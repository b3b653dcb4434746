<?php

declare(strict_types=1);

namespace Domoflux;

/**
 * What a person is told: the log of the plugin, a line on the page that is open, the message centre.
 */
final class Notice
{
    /** @var array<string, string>|null */
    private static ?array $kept = null;

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
        $text = self::html($text);
        if ((self::kept()[$topic] ?? null) === secureXSS($text)) {
            return;
        }
        self::mended($topic);
        \message::add('domoflux', $text, $action, $topic);
        self::$kept[$topic] = secureXSS($text);
    }

    /** @return string the HTML of a link to the page of an equipment */
    public static function linkTo(\domoflux $eqLogic): string
    {
        return '<a href="/index.php?v=d&m=domoflux&p=domoflux&id=' . $eqLogic->getId() . '">' . __('Équipement', __FILE__) . '</a>';
    }

    public static function mended(string $topic): void
    {
        if (isset(self::kept()[$topic])) {
            \message::removeAll('domoflux', $topic);
            unset(self::$kept[$topic]);
        }
    }

    /** Of flows, too, whose equipment was disabled while the daemon was away. */
    public static function allMended(): void
    {
        \message::removeAll('domoflux');
        self::$kept = [];
    }

    public static function isKept(string $topic): bool
    {
        return isset(self::kept()[$topic]);
    }

    /**
     * The messages of the plugin, read once.
     *
     * @return array<string, string> topic => text
     */
    private static function kept(): array
    {
        if (self::$kept === null) {
            self::$kept = [];
            foreach (\message::byPlugin('domoflux') as $message) {
                self::$kept[(string) $message->getLogicalId()] = (string) $message->getMessage();
            }
        }
        return self::$kept;
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
