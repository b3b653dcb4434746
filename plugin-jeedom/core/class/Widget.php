<?php

declare(strict_types=1);

namespace Domoflux;

/**
 * The tile of an equipment on dashboard and mobile: its state, the main counters of its kind, its last error.
 *
 * Templates: core/template/{dashboard,mobile}/domoflux.html, both with the style and script of dashboard/domoflux.live.html.
 * Besides the core's placeholders they have `#light_level#`, `#light_text#`, `#state_id#`, `#state#`, `#isListening_id#`,
 * `#isListening#`, `#lastError_id#`, `#lastError#`, `#levels#` (JSON: text of a state => level) and `#rows#`.
 * A command that somebody deleted has an empty id; one that is not to be seen has no row.
 */
final class Widget
{
    /** Counters of what went wrong, by their names: shown only if there is any. */
    private const TROUBLE = '/err|drop|detach|refus|timeouts|noPath|bad|lost|malformed|busy/i';

    /** Of a state of the daemon, how it is: good, busy (it may mend by itself), bad, off. */
    private const LEVELS = ['serving' => 'good', 'starting' => 'busy', 'backoff' => 'busy', 'failed' => 'bad', 'disabled' => 'off'];

    public static function html(\domoflux $eqLogic, string $version): string
    {
        $replace = $eqLogic->preToHtml($version);
        if (!is_array($replace)) {
            return (string) $replace;
        }
        $version = (string) \jeedom::versionAlias($version);
        $light = self::light($eqLogic);
        $own = [
            '#levels#' => self::text((string) json_encode(self::levels(), JSON_UNESCAPED_UNICODE)),
            '#light_level#' => $light['level'],
            '#light_text#' => self::text($light['text']),
            '#rows#' => self::rows($eqLogic),
        ];
        foreach (['state', 'isListening', 'lastError'] as $logicalId) {
            $cmd = $eqLogic->getCmd('info', $logicalId);
            $own['#' . $logicalId . '_id#'] = is_object($cmd) ? (string) $cmd->getId() : '';
            $own['#' . $logicalId . '#'] = is_object($cmd) ? self::text((string) $cmd->execCmd()) : '';
        }
        foreach (['#name_display#', '#object_name#'] as $name) {
            $own[$name] = self::text((string) $replace[$name]);
        }
        // First, because there are placeholders in it.
        $replace = ['#live#' => self::template('dashboard', 'domoflux.live')] + $own + $replace;
        return (string) $eqLogic->postToHtml($version, \template_replace($replace, self::template($version, 'domoflux')));
    }

    /**
     * How an equipment is, by its commands.
     *
     * @return array{level: string, text: string} good, busy, bad or off; and in words
     */
    public static function light(\domoflux $eqLogic): array
    {
        if ((int) $eqLogic->getIsEnable() !== 1) {
            return ['level' => 'off', 'text' => Commands::stateText('disabled')];
        }
        if ($eqLogic->specText() === '') {
            return ['level' => 'off', 'text' => __('à configurer', __FILE__)];
        }
        $state = self::value($eqLogic, 'state');
        $level = self::levels()[$state] ?? 'bad';
        if ($level === 'good' && self::value($eqLogic, 'isListening') !== '1') {
            return ['level' => 'bad', 'text' => __('sans réponse', __FILE__)];
        }
        return ['level' => $level, 'text' => $state === '' ? __('inconnu', __FILE__) : $state];
    }

    /** @return array<string, string> text of a state => level */
    private static function levels(): array
    {
        $levels = [];
        foreach (self::LEVELS as $state => $level) {
            $levels[Commands::stateText($state)] = $level;
        }
        return $levels;
    }

    private static function value(\domoflux $eqLogic, string $logicalId): string
    {
        $cmd = $eqLogic->getCmd('info', $logicalId);
        return is_object($cmd) ? (string) $cmd->execCmd() : '';
    }

    /** A row for each main counter whose command is to be seen. */
    private static function rows(\domoflux $eqLogic): string
    {
        $cmds = [];
        foreach ($eqLogic->getCmd('info') as $cmd) {
            $cmds[$cmd->getLogicalId()] = $cmd;
        }
        $rows = '';
        foreach (Kinds::counters($eqLogic->kind()) as $counter) {
            $cmd = $cmds[$counter['name']] ?? null;
            if ($cmd === null || (int) $cmd->getIsVisible() !== 1 || !($counter['main'] ?? $counter['gauge'])) {
                continue;
            }
            $value = (string) $cmd->execCmd();
            $trouble = preg_match(self::TROUBLE, $counter['name']) === 1;
            $rows .= sprintf(
                '<div class="domoflux-row%s" data-cmd_id="%s" data-unit="%s" data-value="%s"%s><span class="domoflux-name">%s</span>'
                    . '<span class="domoflux-value%s" data-cmd_id="%s">%s</span></div>',
                $trouble ? ' domoflux-trouble' : '',
                self::text((string) $cmd->getId()),
                self::text((string) $counter['unit']),
                self::text($value),
                $value === '' || ($trouble && (float) $value === 0.0) ? ' hidden' : '',
                self::text((string) $cmd->getName()),
                (int) $cmd->getIsHistorized() === 1 ? ' history cursor' : '',
                self::text((string) $cmd->getId()),
                self::text($value)
            );
        }
        return $rows;
    }

    private static function template(string $version, string $name): string
    {
        $file = 'plugins/domoflux/core/template/' . $version . '/' . $name . '.html';
        return (string) \translate::exec(\getTemplate('core', $version, $name, 'domoflux'), $file);
    }

    /** Text for HTML; a # in it is not the beginning of a placeholder. */
    private static function text(string $text): string
    {
        // HTML5: an apostrophe as &#039; would have a # in it.
        return str_replace('#', '&#35;', htmlspecialchars($text, ENT_QUOTES | ENT_HTML5, 'UTF-8'));
    }
}
