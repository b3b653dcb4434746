<?php

class utils
{
    public static function attrChanged($_changed, $_old, $_new)
    {
        return $_changed || (is_array($_old) ? json_encode($_old) : $_old) != (is_array($_new) ? json_encode($_new) : $_new);
    }

    public static function setJsonAttr($_attr, $_key, $_value = null)
    {
        $_attr = is_array($_attr) ? $_attr : is_json($_attr, []);
        if (is_array($_key)) {
            return array_merge($_attr, $_key);
        }
        if ($_value === null) {
            unset($_attr[$_key]);
        } else {
            $_attr[$_key] = $_value;
        }
        return $_attr;
    }

    /** What is '' is like what is not there. */
    public static function getJsonAttr(&$_attr, $_key = '', $_default = '')
    {
        if ($_key == '') {
            return is_array($_attr) ? $_attr : is_json($_attr, []);
        }
        if (!is_array($_attr)) {
            $_attr = empty($_attr) ? [] : json_decode($_attr, true);
        }
        if (is_array($_key)) {
            $found = [];
            foreach ($_key as $key) {
                $found[$key] = self::getJsonAttr($_attr, $key, $_default);
            }
            return $found;
        }
        return isset($_attr[$_key]) && $_attr[$_key] !== '' ? $_attr[$_key] : $_default;
    }

    public static function encrypt($plaintext, $password = null)
    {
        if ($plaintext === '') {
            return null;
        }
        return $plaintext == '' || strpos($plaintext, 'crypt:') !== false ? $plaintext : 'crypt:' . base64_encode(strrev($plaintext));
    }

    public static function decrypt($ciphertext, $password = null)
    {
        if (empty($ciphertext)) {
            return null;
        }
        return strpos($ciphertext, 'crypt:') === false ? $ciphertext : strrev(base64_decode(substr($ciphertext, 6)));
    }

    /** What a form sends into the setters of an object. */
    public static function a2o(&$_object, $_data)
    {
        foreach ($_data as $key => $value) {
            $method = 'set' . ucfirst($key);
            if (!method_exists($_object, $method)) {
                continue;
            }
            $required = (new ReflectionMethod($_object, $method))->getNumberOfRequiredParameters();
            $value = is_json($value, $value);
            if (is_array($value) && $required === 2) {
                foreach ($value as $name => $one) {
                    $_object->$method($name, $one);
                }
            } elseif (is_array($value)) {
                $_object->$method(json_encode($value, JSON_UNESCAPED_UNICODE));
            } elseif ($required < 2) {
                $_object->$method($value);
            }
        }
    }
}
