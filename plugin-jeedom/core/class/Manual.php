<?php

declare(strict_types=1);

namespace Domoflux;

/**
 * The plugin's own documents as a page of Jeedom, which serves no file below docs/. It knows as much Markdown as they use:
 * headings, paragraphs, lists, tables, blocks of code, pictures, links, bold and code.
 */
final class Manual
{
    private const DOCS = __DIR__ . '/../../docs/';

    /** A page in the language of the person, as HTML. */
    public static function html(string $page): string
    {
        $language = substr(\translate::getLanguage(), 0, 2) === 'fr' ? 'fr_FR' : 'en_US';
        $file = self::DOCS . $language . '/' . ($page === 'changelog' ? 'changelog' : 'index') . '.md';
        if (!is_file($file)) {
            // The core leaves every folder docs out of its backups.
            return '<p>' . self::text(__('Une sauvegarde de Jeedom ne contient pas la documentation : réinstallez le plugin pour la retrouver.', __FILE__)) . '</p>';
        }
        return self::render((string) file_get_contents($file), dirname($file) . '/');
    }

    /** @param string $at the folder that pictures are relative to */
    public static function render(string $markdown, string $at): string
    {
        $html = '';
        foreach (self::blocks($markdown) as $block) {
            $html .= self::block($block, $at) . "\n";
        }
        return $html;
    }

    /**
     * What blank lines separate, but for those in blocks of code; a heading is one of its own.
     *
     * @return string[]
     */
    private static function blocks(string $markdown): array
    {
        $blocks = [];
        foreach (preg_split('/^(```.*?^```)$/ms', $markdown, -1, PREG_SPLIT_DELIM_CAPTURE) ?: [] as $part) {
            if (strncmp($part, '```', 3) === 0) {
                $blocks[] = $part;
            } else {
                $part = (string) preg_replace('/^(#+ .*)$/m', "\n$1\n", $part);
                array_push($blocks, ...array_filter(array_map('trim', preg_split('/\n\s*\n/', $part) ?: []), 'strlen'));
            }
        }
        return $blocks;
    }

    private static function block(string $block, string $at): string
    {
        if (preg_match('/^```[^\n]*\n(.*)```$/s', $block, $found) === 1) {
            return '<pre>' . self::text($found[1]) . '</pre>';
        }
        if (preg_match('/^(#+) (.*)$/', $block, $found) === 1) {
            $level = min(6, strlen($found[1]) + 1);
            return sprintf('<h%d id="%s">%s</h%1$d>', $level, self::anchor($found[2]), self::inline($found[2], $at));
        }
        if ($block[0] === '|') {
            return self::table(explode("\n", $block), $at);
        }
        if (preg_match('/^(-|\d+\.) /', $block, $found) === 1) {
            $items = array_map(static function (string $item) use ($at): string {
                return '<li>' . self::inline($item, $at) . '</li>';
            }, preg_split('/^(?:-|\d+\.) +/m', $block, -1, PREG_SPLIT_NO_EMPTY) ?: []);
            $tag = $found[1] === '-' ? 'ul' : 'ol';
            return "<$tag>" . implode('', $items) . "</$tag>";
        }
        return '<p>' . self::inline($block, $at) . '</p>';
    }

    /** @param string[] $lines */
    private static function table(array $lines, string $at): string
    {
        $html = '';
        foreach ($lines as $number => $line) {
            if ($number === 1) {
                continue; // the line below the titles
            }
            $tag = $number === 0 ? 'th' : 'td';
            $cells = array_map(static function (string $cell) use ($tag, $at): string {
                return "<$tag>" . self::inline(trim($cell), $at) . "</$tag>";
            }, explode('|', trim(trim($line), '|')));
            $html .= '<tr>' . implode('', $cells) . '</tr>';
        }
        return '<table class="table table-condensed table-bordered">' . $html . '</table>';
    }

    private static function inline(string $text, string $at): string
    {
        $html = '';
        // What is code stays as it is.
        foreach (preg_split('/(`[^`]+`)/', $text, -1, PREG_SPLIT_DELIM_CAPTURE) ?: [] as $part) {
            $html .= $part !== '' && $part[0] === '`' ? '<code>' . self::text(trim($part, '`')) . '</code>' : self::marked(self::text($part), $at);
        }
        return $html;
    }

    /** @param string $text is HTML already */
    private static function marked(string $text, string $at): string
    {
        $text = (string) preg_replace_callback('/!\[([^]]*)\]\(([^)\s]+)\)/', static function (array $found) use ($at): string {
            $picture = realpath($at . $found[2]);
            $shown = $picture !== false && substr($picture, -4) === '.png' && strncmp($picture, (string) realpath(self::DOCS), strlen((string) realpath(self::DOCS))) === 0;
            return $shown ? sprintf(
                '<img class="domoflux-picture" alt="%s" src="data:image/png;base64,%s">',
                $found[1],
                base64_encode((string) file_get_contents($picture))
            ) : $found[1];
        }, $text);
        $text = (string) preg_replace('/\[([^]]+)\]\((#[^)\s]+|https?:[^)\s]+)\)/', '<a href="$2">$1</a>', $text);
        return (string) preg_replace('/\*\*(.+?)\*\*/s', '<b>$1</b>', $text);
    }

    /** As the places that show Markdown name headings. */
    private static function anchor(string $title): string
    {
        $kept = (string) preg_replace('/[^\p{L}\p{N} _-]/u', '', $title);
        return str_replace(' ', '-', strtr(strtolower($kept), ['É' => 'é', 'À' => 'à']));
    }

    private static function text(string $text): string
    {
        return htmlspecialchars($text, ENT_QUOTES, 'UTF-8');
    }
}
